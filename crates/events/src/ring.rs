//! The newest durable events, for readers that come back soon.

use std::collections::VecDeque;
use std::sync::Arc;

use model::{Cursor, Envelope};

/// Durable events kept in memory.
pub const RECENT_EVENTS_MAX: usize = 1024;

/// Bytes of text that they hold together. With each event the frames are kept that dialects made of it,
/// so what this costs is a few times as much. Whoever needs older ones reads the log.
pub const RECENT_BYTES_MAX: usize = 4 << 20;

/// Events without a gap between them.
#[derive(Default)]
pub struct Ring {
    events: VecDeque<Arc<Envelope>>,
    bytes: usize,
}

impl Ring {
    pub fn push(&mut self, envelope: Arc<Envelope>) {
        self.bytes += envelope.event.text_bytes();
        self.events.push_back(envelope);
        while self.events.len() > RECENT_EVENTS_MAX || self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.event.text_bytes();
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// What comes behind a cursor; `None` when not all of it is here.
    pub fn after(&self, cursor: Cursor) -> Option<VecDeque<Arc<Envelope>>> {
        self.events.front().filter(|first| first.position <= cursor.next())?;
        Some(self.events.iter().filter(|envelope| envelope.position > cursor).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use model::{Event, MessageId, Role, SessionKey, Timestamp};

    use super::*;

    fn event(cursor: u64, bytes: usize) -> Arc<Envelope> {
        let event = Event::MessageStored {
            session_key: SessionKey::trusted("agent:main:main"),
            message_id: MessageId::trusted("msg_1"),
            message_seq: 1,
            role: Role::Assistant,
            run_id: None,
            text: "x".repeat(bytes),
        };
        Arc::new(Envelope::durable(Cursor(cursor), Timestamp::from_ms(0), event))
    }

    fn cursors(ring: &Ring, after: u64) -> Option<Vec<u64>> {
        ring.after(Cursor(after)).map(|events| events.iter().map(|event| event.position.0).collect())
    }

    #[test]
    fn small_events_are_kept_up_to_their_number() {
        let mut ring = Ring::default();
        let last = RECENT_EVENTS_MAX as u64 + 10;
        (1..=last).for_each(|cursor| ring.push(event(cursor, 10)));
        assert_eq!(cursors(&ring, 9), None);
        assert_eq!(cursors(&ring, 10), Some((11..=last).collect()));
        assert_eq!(cursors(&ring, last), Some(Vec::new()));
    }

    #[test]
    fn long_texts_push_others_out() {
        let mut ring = Ring::default();
        (1..=60).for_each(|cursor| ring.push(event(cursor, RECENT_BYTES_MAX / 20)));
        assert_eq!(cursors(&ring, 39), None);
        assert_eq!(cursors(&ring, 40), Some((41..=60).collect()));
        ring.push(event(61, RECENT_BYTES_MAX + 1));
        assert_eq!((cursors(&ring, 60), ring.bytes), (None, 0), "longer than all of it may be");
        ring.push(event(62, 1));
        assert_eq!((cursors(&ring, 61), ring.bytes), (Some(vec![62]), 1));
    }
}
