//! Opening the store, and waiting for one that is out of reach.

use std::sync::Arc;
use std::time::Duration;

use server::Bound;
use services::Lifecycle;
use store::{Store, StoreError};
use tokio::sync::watch;

use crate::compose;
use crate::prepared::Prepared;
use crate::serving::notify::Notify;

/// Waits between attempts.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The same for a store that another process is about to let go of.
const SOONEST: Duration = Duration::from_millis(20);
/// How long requests that came while the store was waited for get to be answered.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(1);

/// Which failures may pass by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A database elsewhere that does not answer. A file that another gateway has open is for somebody
    /// to decide.
    ForTheNetwork,
    /// A file too: whoever was to replace this process has it open and is about to end.
    ForAnyone,
}

impl Patience {
    fn has(self, error: &anyhow::Error, is_file: bool) -> bool {
        is_away(error) && (self == Patience::ForAnyone || !is_file)
    }

    /// From how long a wait on clients are told, instead of being kept waiting with us.
    fn silence(self) -> Duration {
        match self {
            Patience::ForTheNetwork => Duration::ZERO,
            Patience::ForAnyone => Duration::from_secs(2),
        }
    }
}

/// The store is there, as far as one can know, and cannot be had at the moment.
pub fn is_away(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::Unavailable(_))))
}

/// A gateway on a store that all nodes share may be made anew after this: the store went away, or stayed
/// away for so long that the other nodes took this one for dead.
pub fn may_begin_again(error: &anyhow::Error) -> bool {
    is_away(error) || error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::FencedOff)))
}

/// What a wait is told to and served with.
pub struct Waiting<'a> {
    pub prepared: &'a Prepared,
    pub bound: &'a [Bound],
    pub notify: &'a Notify,
    pub patience: Patience,
}

impl Waiting<'_> {
    /// The store of the configuration. While it is out of reach, the listeners say so; an error that
    /// will not pass is given back.
    pub async fn open(&self) -> anyhow::Result<Arc<dyn Store>> {
        let settings = self.prepared.live.current();
        let is_file = compose::store_is_file(&settings);
        let (name, home) = (compose::store_name(&settings), self.prepared.home.path());
        self.open_with(&name, is_file, || compose::store(&settings, home)).await
    }

    async fn open_with(
        &self,
        name: &str,
        is_file: bool,
        mut attempt: impl FnMut() -> anyhow::Result<Arc<dyn Store>>,
    ) -> anyhow::Result<Arc<dyn Store>> {
        let started = tokio::time::Instant::now();
        let mut wait = if is_file { SOONEST } else { FIRST_WAIT };
        let mut room: Option<Room> = None;
        loop {
            let error = match attempt() {
                Ok(store) => {
                    if let Some(room) = room {
                        room.close().await;
                        tracing::info!(store = name, "the database is there");
                    }
                    return Ok(store);
                }
                Err(error) if self.patience.has(&error, is_file) => error,
                Err(error) => {
                    if let Some(room) = room {
                        room.close().await;
                    }
                    return Err(error);
                }
            };
            if started.elapsed() >= self.patience.silence() {
                let reason = format!("the database {name} is out of reach");
                tracing::warn!(store = name, error = format!("{error:#}"), next_in = ?wait, "the database is out of reach");
                self.notify.waiting(&reason);
                if room.is_none() {
                    room = Some(self.open_room(reason)?);
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn open_room(&self, reason: String) -> anyhow::Result<Room> {
        let (told, reason) = watch::channel(reason);
        let lifecycle = Lifecycle::new();
        let connections = compose::waiting_room(&self.prepared.live, reason).serve(self.bound, &lifecycle)?;
        Ok(Room { lifecycle, connections, _told: told })
    }
}

/// Serves whoever comes while the store is waited for.
struct Room {
    lifecycle: Lifecycle,
    connections: server::Connections,
    _told: watch::Sender<String>,
}

impl Room {
    async fn close(self) {
        self.connections.let_go(&self.lifecycle, LAST_ANSWERS_MAX).await;
        self.lifecycle.halt(LAST_ANSWERS_MAX).await;
    }
}

impl Drop for Room {
    /// A wait that is given up ends its listeners too; the process is about to end.
    fn drop(&mut self) {
        self.lifecycle.leave();
        self.lifecycle.stopping().cancel();
    }
}

#[cfg(test)]
mod tests;
