//! Writing down what a run has done, and reading what it needs, however long the database is away.

use std::sync::Arc;
use std::time::Duration;

use model::{ErrorKind, OpError, Run};
use store::{Foresight, Snapshot, Tx};

use super::Runs;

/// Waits between attempts; the last one is repeated.
pub(super) const WAITS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// What every unit of work asks for that goes on with a run and its session.
pub(super) fn foreseen(run: &Run) -> Foresight {
    Foresight { sessions: vec![run.session_key.clone()], runs: vec![run.id.clone()], ..Foresight::default() }
}

impl Runs {
    /// Runs the unit of work until the database takes it. An error is the unit's own, or says that
    /// the gateway stops meanwhile; then the next start goes on from what is written.
    pub(super) async fn persist<T, F>(&self, foresight: Foresight, unit: F) -> Result<T, OpError>
    where
        T: Send + 'static,
        F: Fn(&dyn Tx) -> Result<T, OpError> + Send + Sync + 'static,
    {
        let unit = Arc::new(unit);
        self.patiently("a step of a run could not be written yet", || {
            let unit = Arc::clone(&unit);
            self.store.write_foreseen::<_, OpError, _>(foresight.clone(), move |tx| unit(tx))
        })
        .await
    }

    /// Reads what a run cannot go on without, however long the database is away. Errors as those of
    /// [`Runs::persist`].
    pub(super) async fn recall<T, F>(&self, unit: F) -> Result<T, OpError>
    where
        T: Send + 'static,
        F: Fn(&dyn Snapshot) -> Result<T, OpError> + Send + Sync + 'static,
    {
        let unit = Arc::new(unit);
        self.patiently("what a run needs could not be read yet", || {
            let unit = Arc::clone(&unit);
            self.store.read::<_, OpError, _>(move |snapshot| unit(snapshot))
        })
        .await
    }

    async fn patiently<T, A>(&self, trouble: &'static str, mut attempt: impl FnMut() -> A) -> Result<T, OpError>
    where
        A: Future<Output = Result<T, OpError>> + Send,
    {
        let mut waits = WAITS.iter();
        loop {
            let error = match attempt().await {
                Err(error) if error.kind == ErrorKind::Unavailable => error,
                done => return done,
            };
            tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "{trouble}");
            let wait = waits.next().copied().unwrap_or(WAITS[WAITS.len() - 1]);
            tokio::select! {
                biased;
                () = self.lifecycle.stopping().cancelled() => return Err(error),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
