//! Writing down what a run has done, however long the database is away.

use std::sync::Arc;
use std::time::Duration;

use model::{ErrorKind, OpError};
use store::Tx;

use super::Runs;

/// Waits between attempts; the last one is repeated.
pub(super) const WAITS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

impl Runs {
    /// Runs the unit of work until the database takes it. An error is the unit's own, or says that
    /// the gateway stops meanwhile; then the next start goes on from what is written.
    pub(super) async fn persist<T, F>(&self, unit: F) -> Result<T, OpError>
    where
        T: Send + 'static,
        F: Fn(&dyn Tx) -> Result<T, OpError> + Send + Sync + 'static,
    {
        let unit = Arc::new(unit);
        let mut waits = WAITS.iter();
        loop {
            let again = Arc::clone(&unit);
            let error = match self.store.write::<_, OpError, _>(move |tx| again(tx)).await {
                Err(error) if error.kind == ErrorKind::Unavailable => error,
                done => return done,
            };
            tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "a step of a run could not be written yet");
            let wait = waits.next().copied().unwrap_or(WAITS[WAITS.len() - 1]);
            tokio::select! {
                biased;
                () = self.lifecycle.stopping().cancelled() => return Err(error),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
