//! Starting to stop, and stopping: one tree of tokens and one tracker for every task.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shared by everything that runs. Clones are the same lifecycle.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    /// No new work is accepted; what runs may finish.
    draining: CancellationToken,
    /// What still runs stops at its last written step and goes on after the next start.
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task that shutdown waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        self.tasks.spawn(task)
    }

    /// Spawns a task that shutdown waits for and whose result is wanted.
    pub fn spawn_with<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.tasks.spawn(task)
    }

    /// Has shutdown wait for a future that runs on a task of someone else's.
    pub fn track<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.tasks.track_future(future)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// For parts that spawn on their own.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tasks
    }

    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Refuses new work from here on.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Tells every task to stop and waits for them, at most `limit`; `false` when some did not.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.draining.cancel();
        self.stopping.cancel();
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}
