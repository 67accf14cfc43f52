//! The newest events, for those who follow live and those who come back soon.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use model::{Cursor, Envelope};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Events that a reader may be behind before ephemeral ones are dropped for it.
pub const LIVE_EVENTS_MAX: usize = 4096;

/// Bytes of text that they hold together. With each event the frames are kept that dialects made of it,
/// so what this costs is a few times as much. Whoever is further behind reads the log.
pub const LIVE_BYTES_MAX: usize = 4 << 20;

/// Durable events that whoever comes back gets without a look at the log.
pub const RECENT_EVENTS_MAX: usize = 1024;

/// The only holder of what is told live: its readers have the addresses, and find out that they are too
/// late. So what is kept for a reader that does not read is bounded by number and by bytes.
pub struct Ring {
    events: VecDeque<Arc<Envelope>>,
    bytes: usize,
    /// Durable events before this one may be missing in between.
    gapless_from: Cursor,
    sender: broadcast::Sender<Weak<Envelope>>,
}

impl Default for Ring {
    fn default() -> Self {
        let (sender, _) = broadcast::channel(LIVE_EVENTS_MAX);
        Self { events: VecDeque::new(), bytes: 0, gapless_from: Cursor(0), sender }
    }
}

impl Ring {
    /// Tells an event to whoever listens.
    pub fn push(&mut self, envelope: Arc<Envelope>) {
        // Nobody listening is not an error: the log has what is durable.
        let _ = self.sender.send(Arc::downgrade(&envelope));
        self.bytes += envelope.event.text_bytes();
        self.events.push_back(envelope);
        // The newest stays, however long it is: it wakes those who find others gone.
        while self.events.len() > LIVE_EVENTS_MAX || (self.bytes > LIVE_BYTES_MAX && self.events.len() > 1) {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.event.text_bytes();
        }
    }

    /// The next durable event is this one, whatever came before.
    pub fn skip_to(&mut self, next: Cursor) {
        self.gapless_from = next;
    }

    pub fn listen(&self) -> Live {
        Live(self.sender.subscribe())
    }

    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    /// The durable events behind a cursor; `None` when not all of them are here, or too many.
    pub fn after(&self, cursor: Cursor) -> Option<VecDeque<Arc<Envelope>>> {
        let first = self.events.front()?;
        // What an ephemeral event follows is not here.
        let oldest = first.cursor.unwrap_or(first.position.next()).max(self.gapless_from);
        let behind = self.events.partition_point(|envelope| envelope.position <= cursor);
        let newest = self.events.back()?.position;
        if cursor.next() < oldest || newest.0.saturating_sub(cursor.0) > RECENT_EVENTS_MAX as u64 {
            return None;
        }
        Some(self.events.range(behind..).filter(|envelope| envelope.cursor.is_some()).cloned().collect())
    }
}

/// One reader's place among the live events.
pub struct Live(broadcast::Receiver<Weak<Envelope>>);

impl Live {
    /// The next event; `Lagged` says how many this reader was too late for. Cancel safe.
    pub async fn recv(&mut self) -> Result<Arc<Envelope>, RecvError> {
        self.0.recv().await?.upgrade().ok_or(RecvError::Lagged(1))
    }

    pub fn try_recv(&mut self) -> Result<Arc<Envelope>, TryRecvError> {
        self.0.try_recv()?.upgrade().ok_or(TryRecvError::Lagged(1))
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
        assert_eq!(cursors(&ring, 9), None, "too many at a time");
        assert_eq!(cursors(&ring, 10), Some((11..=last).collect()));
        assert_eq!(cursors(&ring, last), Some(Vec::new()));
    }

    #[test]
    fn long_texts_push_others_out() {
        let mut ring = Ring::default();
        (1..=60).for_each(|cursor| ring.push(event(cursor, LIVE_BYTES_MAX / 20)));
        assert_eq!(cursors(&ring, 39), None);
        assert_eq!(cursors(&ring, 40), Some((41..=60).collect()));
        ring.push(event(61, LIVE_BYTES_MAX + 1));
        assert_eq!((cursors(&ring, 59), cursors(&ring, 60)), (None, Some(vec![61])), "the newest is kept");
        ring.push(event(62, 1));
        assert_eq!((cursors(&ring, 60), cursors(&ring, 61), ring.bytes), (None, Some(vec![62]), 1));
    }

    #[test]
    fn whoever_is_too_late_for_long_events_is_told_so_and_hears_the_newest() {
        let mut ring = Ring::default();
        let mut live = ring.listen();
        (1..=3).for_each(|cursor| ring.push(event(cursor, LIVE_BYTES_MAX + 1)));
        for _ in 0..2 {
            assert!(matches!(live.try_recv(), Err(TryRecvError::Lagged(1))));
        }
        assert_eq!(live.try_recv().unwrap().position, Cursor(3));
        assert!(matches!(live.try_recv(), Err(TryRecvError::Empty)));
    }

    #[test]
    fn what_an_ephemeral_event_follows_is_not_taken_to_be_here() {
        let mut ring = Ring::default();
        let deltas = |position| {
            let event = Event::HealthChanged { version: 1 };
            Arc::new(Envelope::ephemeral(Cursor(position), Timestamp::from_ms(0), event))
        };
        ring.push(event(1, 1));
        (0..LIVE_EVENTS_MAX - 1).for_each(|_| ring.push(deltas(1)));
        assert_eq!(cursors(&ring, 0), Some(vec![1]));
        ring.push(deltas(1));
        assert_eq!((cursors(&ring, 0), cursors(&ring, 1)), (None, Some(Vec::new())));
        ring.push(event(2, 1));
        assert_eq!((cursors(&ring, 0), cursors(&ring, 1)), (None, Some(vec![2])));
    }

    #[test]
    fn nothing_is_taken_from_before_a_gap() {
        let mut ring = Ring::default();
        (1..=3).for_each(|cursor| ring.push(event(cursor, 1)));
        ring.skip_to(Cursor(11));
        ring.push(event(11, 1));
        assert_eq!((cursors(&ring, 2), cursors(&ring, 9), cursors(&ring, 10)), (None, None, Some(vec![11])));
    }
}
