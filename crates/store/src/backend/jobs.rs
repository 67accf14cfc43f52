//! Running jobs that are not ours and telling their callers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use model::Fence;

use crate::{Announce, Finish, Outcome, StoreError, StoredEvent, WriteJob};

/// What a writer is told once it runs.
#[derive(Default)]
pub struct Orders {
    /// Who hears of committed events.
    pub listener: OnceLock<Arc<dyn Announce>>,
    /// The node that writes.
    pub fence: OnceLock<Fence>,
}

/// Tells a unit of work that it cannot run.
pub fn refuse(job: WriteJob, error: StoreError) {
    let again = again(&error);
    guarded("a refused unit of work", || match job(Err(error)) {
        Outcome::Commit(finish) | Outcome::Rollback(finish) => finish(Err(again)),
    });
}

/// A unit of work that has run.
pub enum Unit {
    Kept(Finish),
    Undone(Finish),
    /// Wanted to be kept and could not be, for a reason of its own.
    Failed(Finish, StoreError),
}

/// Tells the listener, if there is one, of what was committed.
pub fn announce(listener: &OnceLock<Arc<dyn Announce>>, events: Vec<StoredEvent>) {
    if let Some(listener) = listener.get().filter(|_| !events.is_empty()) {
        guarded("the listener of events", || listener.committed(events));
    }
}

/// Tells the callers of a batch how it ended.
pub fn tell(units: Vec<Unit>, ended: &Result<(), StoreError>) {
    for unit in units {
        guarded("a caller", || match unit {
            Unit::Kept(finish) => finish(ended.as_ref().copied().map_err(again)),
            // Undone, as it asked, whatever became of the others.
            Unit::Undone(finish) => finish(Ok(())),
            Unit::Failed(finish, error) => finish(Err(error)),
        });
    }
}

/// A panic in code that is not ours must not end the thread that everything is written by.
pub fn guarded(what: &'static str, call: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
        tracing::error!(panic = panic_text(&*panic), "{what} panicked");
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no text",
    }
}

/// The same answer for another caller of a batch.
pub fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(text) => StoreError::Unavailable(text.clone()),
        StoreError::NotWritable(text) => StoreError::NotWritable(text.clone()),
        StoreError::Conflict(text) => StoreError::Conflict(text.clone()),
        StoreError::Corrupt(text) => StoreError::Corrupt(text.clone()),
        StoreError::Refused(text) => StoreError::Refused(text.clone()),
        StoreError::FencedOff => StoreError::FencedOff,
        StoreError::FromTheFuture { found, known } => StoreError::FromTheFuture { found: *found, known: *known },
        StoreError::Backend(source) => StoreError::Unavailable(source.to_string()),
    }
}
