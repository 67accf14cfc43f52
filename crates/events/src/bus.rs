//! Publishing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Cursor, Envelope, Event, Timestamp};
use tokio::sync::broadcast;

use crate::log::Log;
use crate::subscription::Subscription;

/// Events that a reader may be behind before ephemeral ones are dropped for it.
pub const LIVE_EVENTS_MAX: usize = 4096;

/// Durable events kept in memory for readers that come back soon.
pub const RECENT_EVENTS_MAX: usize = 1024;

pub struct EventBus {
    log: Arc<dyn Log>,
    state: Mutex<State>,
}

struct State {
    /// Bounded: a receiver that falls further behind than its capacity is told how much it missed.
    live: broadcast::Sender<Arc<Envelope>>,
    recent: VecDeque<Arc<Envelope>>,
    newest: Cursor,
}

impl EventBus {
    /// `newest` is the last cursor of the log at start.
    pub fn new(log: Arc<dyn Log>, newest: Cursor) -> Self {
        let (live, _) = broadcast::channel(LIVE_EVENTS_MAX);
        Self { log, state: Mutex::new(State { live, recent: VecDeque::new(), newest }) }
    }

    /// Publishes committed events; they must be in cursor order and follow what came before. Gives
    /// them back as they were published.
    pub fn publish_durable(&self, events: impl IntoIterator<Item = (Cursor, Timestamp, Event)>) -> Vec<Arc<Envelope>> {
        let mut state = self.lock();
        let mut published = Vec::new();
        for (cursor, at, event) in events {
            debug_assert!(cursor > state.newest, "durable events are published in cursor order");
            let envelope = Arc::new(Envelope::durable(cursor, at, event));
            state.newest = cursor;
            if state.recent.len() == RECENT_EVENTS_MAX {
                state.recent.pop_front();
            }
            state.recent.push_back(Arc::clone(&envelope));
            published.push(Arc::clone(&envelope));
            // Nobody listening is not an error: the log has it.
            let _ = state.live.send(envelope);
        }
        published
    }

    /// Publishes an event that is not kept, and gives it back. `None` when nobody listens and
    /// `is_wanted` says that the caller has no use for it either: then nothing was made.
    pub fn publish_ephemeral(
        &self,
        at: Timestamp,
        is_wanted: bool,
        event: impl FnOnce() -> Event,
    ) -> Option<Arc<Envelope>> {
        let state = self.lock();
        let has_listeners = state.live.receiver_count() > 0;
        if !has_listeners && !is_wanted {
            return None;
        }
        let event = event();
        debug_assert!(!event.is_durable(), "durable events go through the store");
        let envelope = Arc::new(Envelope::ephemeral(state.newest, at, event));
        if has_listeners {
            let _ = state.live.send(Arc::clone(&envelope));
        }
        Some(envelope)
    }

    /// Follows from now, or from after a cursor: what was missed comes first.
    pub fn subscribe(&self, after: Option<Cursor>) -> Subscription {
        let state = self.lock();
        Subscription::new(Arc::clone(&self.log), state.live.subscribe(), after, state.newest, &state.recent)
    }

    /// The cursor of the last durable event.
    pub fn newest(&self) -> Cursor {
        self.lock().newest
    }

    pub fn listeners(&self) -> usize {
        self.lock().live.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
