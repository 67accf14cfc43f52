//! Changing a session: it is held still meanwhile, and no run of it starts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Noun, OpError, RunState, SessionKey, StopCause};

use tokio::time::Instant;

use super::Runs;
use crate::sessions::{CompactOptions, Compaction, MessagePage};

/// How long a caller that changes a session waits for its active run.
const QUIET_WAIT: Duration = Duration::from_secs(30);

/// How often a session that another node holds is looked at.
const HOLD_LOOK: Duration = Duration::from_millis(100);

/// What became of a session that was cut down to its newest messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Truncated {
    /// Messages that are gone.
    pub removed: u64,
    /// Holds the transcript as it was; absent when nothing was removed.
    pub copy: Option<PathBuf>,
}

/// No run of the session starts until this is dropped; then the next one does, also when whoever
/// held it went away in the middle.
pub(crate) struct Held {
    runs: Arc<Runs>,
    key: SessionKey,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (runs, key) = (Arc::clone(&self.runs), self.key.clone());
        if runs.cluster.is_shared() {
            runs.lifecycle.clone().spawn(async move {
                runs.let_go_everywhere(&key).await;
                runs.mailboxes.let_go(&key);
                runs.pump(&key);
            });
        } else {
            runs.mailboxes.let_go(&key);
            runs.pump(&key);
        }
    }
}

/// Somebody waits to hold the session, until this is dropped.
struct Wish<'a> {
    runs: &'a Arc<Runs>,
    key: &'a SessionKey,
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        self.runs.mailboxes.unwish(self.key);
        self.runs.pump(self.key);
    }
}

impl Runs {
    /// Waits until no run of the session is active, then holds it, before any run that waits;
    /// `None` when the time is up first.
    pub(crate) async fn hold(self: &Arc<Self>, key: &SessionKey, limit: Duration) -> Option<Held> {
        self.mailboxes.wish(key);
        let _wish = Wish { runs: self, key };
        let deadline = Instant::now() + limit;
        if !self.mailboxes.hold(key, limit).await {
            return None;
        }
        if self.cluster.is_shared() && !self.hold_everywhere(key, deadline).await {
            self.mailboxes.let_go(key);
            return None;
        }
        Some(Held { runs: Arc::clone(self), key: key.clone() })
    }

    /// Waits until no other node drives or holds the session, then holds it for this one: what is
    /// accepted for it from here on waits here. `false` when the time is up first.
    async fn hold_everywhere(&self, key: &SessionKey, deadline: Instant) -> bool {
        loop {
            let changed = self.live.appeared();
            match self.try_hold_everywhere(key).await {
                Ok(true) => return true,
                Ok(false) if Instant::now() >= deadline => return false,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, session = %key, "the session could not be held");
                    return false;
                }
            }
            // The end of a run elsewhere is told; that of another node's hold is not.
            let _ = tokio::time::timeout_at(deadline.min(Instant::now() + HOLD_LOOK), changed).await;
        }
    }

    async fn try_hold_everywhere(&self, key: &SessionKey) -> Result<bool, OpError> {
        let (key, me) = (key.clone(), self.cluster.me());
        self.store
            .write::<_, OpError, _>(move |tx| {
                let is_free = tx.nodes().owner_of(&key)?.is_none_or(|owner| owner == me);
                if is_free {
                    tx.nodes_mut().hold(&key, me)?;
                }
                Ok(is_free)
            })
            .await
    }

    /// Lets go of a session for all nodes. Should that fail, it stays this node's until its end.
    pub(super) async fn let_go_everywhere(&self, key: &SessionKey) {
        let (wanted, me) = (key.clone(), self.cluster.me());
        let let_go = self.store.write::<_, OpError, _>(move |tx| Ok(tx.nodes_mut().let_go(&wanted, me)?));
        if let Err(error) = let_go.await {
            tracing::warn!(%error, session = %key, "the session stays with this node");
        }
    }

    /// Compacts a session once its active run is over; waits for that at most 30 s.
    pub async fn compact(self: &Arc<Self>, key: &SessionKey, options: CompactOptions) -> Result<Compaction, OpError> {
        let _held = self.hold_quiet(key).await?;
        self.compact_held(key, options).await
    }

    /// Like [`Runs::compact`], but refuses at once when a run is active.
    pub async fn compact_now(
        self: &Arc<Self>,
        key: &SessionKey,
        options: CompactOptions,
    ) -> Result<Compaction, OpError> {
        let _held = self.hold_now(key).await?;
        self.compact_held(key, options).await
    }

    async fn compact_held(&self, key: &SessionKey, options: CompactOptions) -> Result<Compaction, OpError> {
        let result = self.sessions.compact(key, options).await?;
        result.ok_or_else(|| OpError::not_found(Noun::Session, key))
    }

    /// Keeps the newest `keep` messages of a session without an active run. What is removed is in a
    /// file first, which holds the whole transcript as it was. `None` when there is no such session.
    pub async fn truncate_now(self: &Arc<Self>, key: &SessionKey, keep: u64) -> Result<Option<Truncated>, OpError> {
        let held = self.hold_now(key).await?;
        let (runs, key) = (Arc::clone(self), key.clone());
        self.carry_out(held, async move { runs.truncate_held(&key, keep).await }).await
    }

    async fn truncate_held(&self, key: &SessionKey, keep: u64) -> Result<Option<Truncated>, OpError> {
        let Some(history) = self.sessions.history(key, MessagePage::default()).await? else { return Ok(None) };
        if u64::try_from(history.messages.len()).unwrap_or(u64::MAX) <= keep {
            return Ok(Some(Truncated::default()));
        }
        let written = self.archive.write(&history, self.clock.now(), &self.ids.uuid().to_string()).await;
        let copy = written.map_err(|error| {
            tracing::error!(%error, "a transcript could not be copied before it is shortened");
            OpError::unavailable("the transcript could not be copied, so it was not shortened")
        })?;
        match self.sessions.truncate(key, keep).await {
            Ok(Some((_, removed))) if removed > 0 => {
                self.archive.thin(key, &copy).await;
                Ok(Some(Truncated { removed, copy: Some(copy) }))
            }
            other => {
                self.archive.discard(&copy).await;
                Ok(other?.map(|_| Truncated::default()))
            }
        }
    }

    /// Removes the messages of a session once its active run is over; waits for that at most 30 s.
    /// Messages of runs that wait stay. `None` when there is no such session.
    pub async fn clear_session(self: &Arc<Self>, key: &SessionKey, keep_system: bool) -> Result<Option<u64>, OpError> {
        let held = self.hold_quiet(key).await?;
        let (runs, key) = (Arc::clone(self), key.clone());
        self.carry_out(held, async move { runs.sessions.clear(&key, keep_system).await }).await
    }

    async fn hold_quiet(self: &Arc<Self>, key: &SessionKey) -> Result<Held, OpError> {
        self.hold(key, QUIET_WAIT).await.ok_or_else(|| {
            let message = format!("a run of session `{key}` is still active after {} s", QUIET_WAIT.as_secs());
            OpError::new(model::ErrorKind::Timeout, message)
        })
    }

    async fn hold_now(self: &Arc<Self>, key: &SessionKey) -> Result<Held, OpError> {
        let held = self.hold(key, Duration::ZERO).await;
        held.ok_or_else(|| OpError::busy(format!("session `{key}` has an active run"), 1000))
    }

    /// Stops what runs in a session, waits for it, and removes the session with its messages.
    pub async fn delete_session(self: &Arc<Self>, key: &SessionKey) -> Result<u64, OpError> {
        self.sessions.get(key).await?.ok_or_else(|| OpError::not_found(Noun::Session, key))?;
        let held = self.quiet(key, StopCause::SessionDeleted).await?;
        let (runs, key) = (Arc::clone(self), key.clone());
        self.carry_out(held, async move {
            let (removed, late) = runs.sessions.remove(&key).await?;
            runs.archive.forget(&key).await;
            for id in late {
                runs.mailboxes.withdraw(&key, &id);
                if let Some(live) = runs.live.get(&id) {
                    live.stop(StopCause::SessionDeleted);
                    live.update(|run| (run.state, run.ended_at) = (RunState::Cancelled, Some(runs.clock.now())));
                }
                runs.live.remove(&id);
                runs.channels.close(&id);
            }
            Ok(removed)
        })
        .await
    }

    /// Stops what runs in a session, waits for it, and gives the session a new transcript.
    pub async fn reset_session(self: &Arc<Self>, key: &SessionKey, reason: &str) -> Result<model::Session, OpError> {
        let held = self.quiet(key, StopCause::SessionReset).await?;
        let (runs, key, reason) = (Arc::clone(self), key.clone(), reason.to_owned());
        self.carry_out(held, async move {
            let (session, waiting) = runs.sessions.reset(&key, &reason).await?;
            for live in waiting.iter().filter_map(|id| runs.live.get(id)) {
                live.update(|run| run.session_id = session.id.clone());
            }
            Ok(session)
        })
        .await
    }

    /// Changes a held session on a task of its own: a caller that goes away in the middle must not
    /// leave the database and the memory apart.
    async fn carry_out<T: Send + 'static>(
        &self,
        held: Held,
        change: impl Future<Output = Result<T, OpError>> + Send + 'static,
    ) -> Result<T, OpError> {
        let changing = self.lifecycle.spawn_with(async move {
            let changed = change.await;
            drop(held);
            changed
        });
        changing.await.unwrap_or_else(|_| Err(OpError::unavailable("the gateway is stopping")))
    }

    async fn quiet(self: &Arc<Self>, key: &SessionKey, cause: StopCause) -> Result<Held, OpError> {
        self.cancel_session(key, cause).await?;
        let held = self.hold(key, QUIET_WAIT).await;
        held.ok_or_else(|| OpError::busy(format!("the active run of session `{key}` did not end in time"), 1000))
    }
}
