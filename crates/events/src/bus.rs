//! Publishing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Cursor, Envelope, Event, Timestamp};
use tokio::sync::Notify;

use crate::log::Log;
use crate::ring::Ring;
use crate::subscription::Subscription;

/// Events held back while those before them are on their way; beyond it ephemeral ones are dropped.
const HELD_EVENTS_MAX: usize = 16_384;

pub struct EventBus {
    log: Arc<dyn Log>,
    state: Mutex<State>,
    /// Something was published.
    moved: Notify,
}

struct State {
    recent: Ring,
    newest: Cursor,
    /// The last durable event that is known to be in the log; what is missing up to it must be read.
    committed: Cursor,
    /// Durable events that wait for their predecessors, which another node has written, or for
    /// [`EventBus::release`].
    staged: BTreeMap<Cursor, Staged>,
    /// Ephemeral events that came after a staged one.
    held: VecDeque<Arc<Envelope>>,
}

struct Staged {
    envelope: Arc<Envelope>,
    is_released: bool,
}

impl EventBus {
    /// `newest` is the last cursor of the log at start.
    pub fn new(log: Arc<dyn Log>, newest: Cursor) -> Self {
        let (recent, staged, held) = (Ring::default(), BTreeMap::new(), VecDeque::new());
        let state = State { recent, newest, committed: newest, staged, held };
        Self { log, state: Mutex::new(state), moved: Notify::new() }
    }

    /// Publishes committed events in the order of their cursors. One whose predecessors are not known
    /// yet waits for them ([`EventBus::missing`]); one that is known already is passed over. Gives
    /// those that were new.
    pub fn publish_durable(&self, events: impl IntoIterator<Item = (Cursor, Timestamp, Event)>) -> Vec<Arc<Envelope>> {
        self.publish_envelopes(durable(events))
    }

    /// The same for events that are made already.
    pub fn publish_envelopes(&self, events: impl IntoIterator<Item = Arc<Envelope>>) -> Vec<Arc<Envelope>> {
        let mut state = self.lock();
        let new = state.stage(events, true);
        state.release();
        drop(state);
        self.moved.notify_waiters();
        new
    }

    /// Like [`EventBus::publish_durable`], but nobody hears of them, or of what is behind them, before
    /// the next call of [`EventBus::release`].
    pub fn stage(&self, events: impl IntoIterator<Item = (Cursor, Timestamp, Event)>) -> Vec<Arc<Envelope>> {
        self.lock().stage(durable(events), false)
    }

    /// Publishes what was staged and has its predecessors.
    pub fn release(&self) {
        let mut state = self.lock();
        state.staged.values_mut().for_each(|staged| staged.is_released = true);
        state.release();
        drop(state);
        self.moved.notify_waiters();
    }

    /// Waits until everything up to `cursor` is published.
    pub async fn reached(&self, cursor: Cursor) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.newest() >= cursor {
                return;
            }
            moved.await;
        }
    }

    /// Publishes an event that is not kept, and gives it back. `None` when nobody listens and
    /// `is_wanted` says that the caller has no use for it either: then nothing was made.
    pub fn publish_ephemeral(
        &self,
        at: Timestamp,
        is_wanted: bool,
        event: impl FnOnce() -> Event,
    ) -> Option<Arc<Envelope>> {
        let mut state = self.lock();
        let has_listeners = state.recent.listeners() > 0;
        if !has_listeners && !is_wanted {
            return None;
        }
        let event = event();
        debug_assert!(!event.is_durable(), "durable events go through the store");
        let position = state.staged.last_key_value().map_or(state.newest, |(cursor, _)| *cursor);
        let envelope = Arc::new(Envelope::ephemeral(position, at, event));
        if has_listeners {
            if position == state.newest {
                state.recent.push(Arc::clone(&envelope));
            } else if state.held.len() < HELD_EVENTS_MAX {
                state.held.push_back(Arc::clone(&envelope));
            }
        }
        Some(envelope)
    }

    /// Another node has committed up to here.
    pub fn note_committed(&self, cursor: Cursor) {
        let mut state = self.lock();
        state.committed = state.committed.max(cursor);
    }

    /// The place behind which the log must be read, because events are known to be there that were
    /// not published yet.
    pub fn missing(&self) -> Option<Cursor> {
        let state = self.lock();
        (state.newest < state.committed).then_some(state.newest)
    }

    /// The last event that is known to be in the log, while not all up to it are published.
    pub fn behind(&self) -> Option<Cursor> {
        let state = self.lock();
        (state.newest < state.committed).then_some(state.committed)
    }

    /// Goes on behind `cursor`: what was missing up to there is not in the log any more.
    pub fn skip_to(&self, cursor: Cursor) {
        let mut state = self.lock();
        if cursor > state.newest {
            state.newest = cursor;
            state.committed = state.committed.max(cursor);
            state.recent.skip_to(cursor.next());
            state.staged = state.staged.split_off(&cursor.next());
            state.release();
            drop(state);
            self.moved.notify_waiters();
        }
    }

    /// Follows from now, or from after a cursor: what was missed comes first.
    pub fn subscribe(&self, after: Option<Cursor>) -> Subscription {
        let state = self.lock();
        Subscription::new(Arc::clone(&self.log), after, state.newest, &state.recent)
    }

    /// The cursor of the last durable event.
    pub fn newest(&self) -> Cursor {
        self.lock().newest
    }

    pub fn listeners(&self) -> usize {
        self.lock().recent.listeners()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn durable(events: impl IntoIterator<Item = (Cursor, Timestamp, Event)>) -> impl Iterator<Item = Arc<Envelope>> {
    events.into_iter().map(|(cursor, at, event)| Arc::new(Envelope::durable(cursor, at, event)))
}

impl State {
    fn stage(&mut self, events: impl IntoIterator<Item = Arc<Envelope>>, is_released: bool) -> Vec<Arc<Envelope>> {
        let mut new = Vec::new();
        for envelope in events {
            let cursor = envelope.position;
            if cursor <= self.newest || self.staged.contains_key(&cursor) {
                continue;
            }
            self.committed = self.committed.max(cursor);
            self.staged.insert(cursor, Staged { envelope: Arc::clone(&envelope), is_released });
            new.push(envelope);
        }
        new
    }

    fn publish(&mut self, envelope: Arc<Envelope>) {
        self.newest = envelope.position;
        self.recent.push(envelope);
    }

    /// Publishes what has waited and has its predecessors now.
    fn release(&mut self) {
        loop {
            while self.held.front().is_some_and(|held| held.position <= self.newest) {
                if let Some(held) = self.held.pop_front() {
                    self.recent.push(held);
                }
            }
            match self.staged.first_entry() {
                Some(first) if *first.key() == self.newest.next() && first.get().is_released => {
                    let envelope = first.remove().envelope;
                    self.publish(envelope);
                }
                _ => return,
            }
        }
    }
}
