//! The log of durable events.

use model::{Cursor, Event, RunId, Timestamp};

use crate::StoreError;

#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    pub cursor: Cursor,
    pub at: Timestamp,
    pub event: Event,
}

/// What the log holds. An empty log has `oldest = newest + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    pub oldest: Cursor,
    /// The last cursor ever given, also when its event was pruned.
    pub newest: Cursor,
}

/// How the stored form of an event names a run; no text inside an event can look like it.
pub fn run_text(run: &RunId) -> String {
    format!("\"run_id\":{}", serde_json::Value::from(run.as_str()))
}

pub trait EventQueries {
    /// Events with a cursor greater than `after`, in order, at most `limit`.
    fn after(&self, after: Cursor, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;
    /// Events that name the run, in order, at most `limit`. Reads the whole log: for people who ask why.
    fn of_run(&self, run: &RunId, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;
    fn bounds(&self) -> Result<LogBounds, StoreError>;
}

pub trait EventWrites {
    /// Appends a durable event. Cursors rise by 1 in commit order; a rolled-back unit leaves no gap.
    fn append(&self, at: Timestamp, event: &Event) -> Result<Cursor, StoreError>;
    /// Removes events made before `before`, and the oldest beyond `keep_max`; gives how many. The
    /// rest has no hole: an old event behind a younger one stays until that one goes.
    fn prune(&self, before: Timestamp, keep_max: u64) -> Result<u64, StoreError>;
}
