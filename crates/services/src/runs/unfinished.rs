//! The stored row of a run that is not over.

use model::Run;
use store::{StoreError, Tx};

pub(crate) fn is_unfinished(tx: &dyn Tx, run: &Run) -> Result<bool, StoreError> {
    Ok(tx.runs().get(&run.id)?.is_some_and(|stored| !stored.state.is_over()))
}

/// Writes the row of a run that goes on. A wish to stop it that was written down meanwhile stays.
pub(crate) fn update_unfinished(tx: &dyn Tx, run: &Run) -> Result<(), StoreError> {
    let wish = tx.runs().get(&run.id)?.and_then(|stored| stored.stop_cause);
    let stop_cause = run.stop_cause.or(wish);
    tx.runs_mut().update(&Run { stop_cause, ..run.clone() })?;
    Ok(())
}
