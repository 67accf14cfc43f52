//! Starting to stop, and stopping: one tree of tokens and one tracker for every task.
//!
//! A gateway that stops for good drains and stops. One whose place another takes moves first (clients
//! are told to connect anew, and what they ask meanwhile is still answered), leaves next (nobody is let
//! in any more) and halts last. It never drains: a call that it has read is not refused.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shared by everything that runs. Clones are the same lifecycle.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    /// Another gateway is about to take this one's place on the same addresses.
    moving: CancellationToken,
    /// Nobody is let in any more, and what has no end of its own ends.
    leaving: CancellationToken,
    /// No new work is accepted; what runs may finish.
    draining: CancellationToken,
    /// What still runs stops at its last written step and goes on after the next start.
    stopping: CancellationToken,
    restart: Arc<Restart>,
    tasks: TaskTracker,
    farewells: TaskTracker,
}

/// Why the gateway ends, as far as its clients care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// For good, or for longer than anybody should wait.
    Stop,
    /// Another one serves the same addresses in a moment: connect again.
    Restart,
}

/// A wish for a new gateway in this process.
#[derive(Debug, Default)]
struct Restart {
    asked: CancellationToken,
    reason: OnceLock<String>,
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

    /// Spawns what only says goodbye to a peer and touches nothing of the gateway. The end of the
    /// gateway does not wait for it, the end of the process does: [`Lifecycle::farewells_said`].
    pub fn spawn_farewell(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.farewells.spawn(task);
    }

    /// Waits for every farewell, at most `limit`.
    pub async fn farewells_said(&self, limit: Duration) {
        self.farewells.close();
        // A peer that does not answer by then is left to find out by itself.
        let _ = tokio::time::timeout(limit, self.farewells.wait()).await;
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// For parts that spawn on their own.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tasks
    }

    pub fn moving(&self) -> &CancellationToken {
        &self.moving
    }

    pub fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// What to tell clients when the gateway ends now.
    pub fn ending(&self) -> Ending {
        if self.moving.is_cancelled() { Ending::Restart } else { Ending::Stop }
    }

    /// From here on every connection is asked to end and be made anew.
    pub fn start_moving(&self) {
        self.moving.cancel();
    }

    /// Lets nobody in from here on and ends what has no end of its own.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Refuses new work from here on.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Tells every task to stop and waits for them, at most `limit`; `false` when some did not.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.draining.cancel();
        self.halt(limit).await
    }

    /// Like [`Lifecycle::stop`], for a gateway that goes on elsewhere: work that still comes in is
    /// written down instead of refused.
    pub async fn halt(&self, limit: Duration) -> bool {
        self.leaving.cancel();
        self.stopping.cancel();
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }

    /// Asks for another gateway in this process in place of this one, for instance because it lost
    /// what it needs to be the one that serves. The first reason counts.
    pub fn ask_restart(&self, reason: impl Into<String>) {
        self.restart.reason.get_or_init(|| reason.into());
        self.restart.asked.cancel();
    }

    /// Waits until somebody asks for a restart; gives the reason.
    pub async fn restart_asked(&self) -> String {
        self.restart.asked.cancelled().await;
        self.restart.reason.get().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gateway_that_moves_ends_with_a_restart_and_never_drains() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.ending(), Ending::Stop);
        lifecycle.start_moving();
        let stopping = lifecycle.stopping().clone();
        lifecycle.spawn(async move { stopping.cancelled().await });
        assert!(lifecycle.halt(Duration::from_secs(60)).await);
        assert!(lifecycle.leaving().is_cancelled());
        assert_eq!((lifecycle.ending(), lifecycle.is_draining()), (Ending::Restart, false));
    }

    #[tokio::test]
    async fn the_first_reason_for_a_restart_is_the_one_that_is_told() {
        let lifecycle = Lifecycle::new();
        lifecycle.ask_restart("the lease is lost");
        lifecycle.clone().ask_restart("something else");
        assert_eq!(lifecycle.restart_asked().await, "the lease is lost");
    }

    #[tokio::test]
    async fn the_end_of_the_gateway_does_not_wait_for_farewells() {
        let lifecycle = Lifecycle::new();
        let answered = CancellationToken::new();
        let answer = answered.clone();
        lifecycle.spawn_farewell(async move { answer.cancelled().await });
        assert!(lifecycle.stop(Duration::from_secs(60)).await);
        answered.cancel();
        lifecycle.farewells_said(Duration::from_secs(60)).await;
        assert!(lifecycle.farewells.is_empty());
    }
}
