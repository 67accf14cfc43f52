//! Runs: from an accepted message to exactly one terminal state.
//!
//! `accept` writes the user message and the run in one transaction, then the run waits in its
//! session's [mailbox] until the caller's answer is on its way and the session is free. A
//! [task] drives the turn and writes each step through its [journal]. What a restart finds
//! unfinished is taken up again by [`Runs::recover`]. The in-memory side of an unfinished run is a
//! [`LiveRun`]; a finished one is answered from the store.

mod accept;
mod ask;
mod finished;
mod follow;
mod handed;
mod held;
mod id_locks;
mod journal;
mod live;
mod mailbox;
mod persist;
mod recover;
mod remote;
mod task;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use events::EventBus;
use model::{Clock, Event, Ids, Noun, OpError, Run, RunId, SessionKey, SessionKind, StopCause};
use store::{PendingInput, Store};

pub use accept::{Accepted, NewRun, StartGuard};
pub use follow::{FollowItem, RunFollower};
pub use held::Truncated;
pub use live::{LiveRun, LiveSnapshot};
pub(crate) use mailbox::Mailboxes;
pub use recover::Recovered;
pub(crate) use remote::Follower;

use crate::agents::Agents;
use crate::archive::Archive;
use crate::cluster::Cluster;
use crate::kept::KeptThings;
use crate::lifecycle::Lifecycle;
use crate::log::RunChannels;
use crate::models::Models;
use crate::sessions::Sessions;
use crate::settings::Limits;
use live::LiveRuns;

pub(crate) struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    pub bus: Arc<EventBus>,
    pub cluster: Arc<Cluster>,
    pub channels: Arc<RunChannels>,
    pub mailboxes: Arc<Mailboxes>,
    pub kept: Arc<KeptThings>,
    pub lifecycle: Lifecycle,
    pub agents: Arc<Agents>,
    pub models: Arc<Models>,
    pub sessions: Arc<Sessions>,
    pub archive: Archive,
    pub tools: Arc<tools::Registry>,
    pub limits: Limits,
}

pub struct Runs {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) bus: Arc<EventBus>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) channels: Arc<RunChannels>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) agents: Arc<Agents>,
    pub(crate) models: Arc<Models>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) archive: Archive,
    pub(crate) tools: Arc<tools::Registry>,
    limits: RwLock<Arc<Limits>>,
    pub(crate) mailboxes: Arc<Mailboxes>,
    pub(crate) live: LiveRuns,
    pub(crate) kept: Arc<KeptThings>,
    pub(crate) id_locks: id_locks::IdLocks,
    /// Held for writing while runs of another node are taken over, for reading while a message is taken
    /// in: in a session's queue the former stand before the latter, as in the database.
    taking_over: tokio::sync::RwLock<()>,
}

/// What asking a run to stop came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Cancelled {
    /// `false` when it was over already.
    pub changed: bool,
    pub run: Run,
}

/// What became of follow-up input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Responded {
    /// The run waited for it.
    Delivered,
    /// It is handed to the model at the run's next step.
    Queued,
    /// The run is over; nothing was stored.
    Ended,
}

impl Runs {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            store,
            clock,
            ids,
            bus,
            cluster,
            channels,
            mailboxes,
            kept,
            lifecycle,
            agents,
            models,
            sessions,
            archive,
            tools,
            limits,
        } = parts;
        Arc::new(Self {
            store,
            clock,
            ids,
            bus,
            cluster,
            channels,
            lifecycle,
            agents,
            models,
            sessions,
            archive,
            tools,
            limits: RwLock::new(Arc::new(limits)),
            mailboxes,
            live: LiveRuns::default(),
            kept,
            id_locks: id_locks::IdLocks::default(),
            taking_over: tokio::sync::RwLock::default(),
        })
    }

    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_limits(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(limits);
    }

    /// The run as it is now, from memory while it lives, else from the store.
    pub async fn get(&self, id: &RunId) -> Result<Option<Run>, OpError> {
        if let Some(live) = self.live.get(id).filter(|live| live.is_here) {
            return Ok(Some(live.run()));
        }
        self.stored(id).await
    }

    pub async fn require(&self, id: &RunId) -> Result<Run, OpError> {
        self.get(id).await?.ok_or_else(|| OpError::not_found(Noun::Run, id))
    }

    /// Names of the tools that a run called, in the order of their first call.
    pub async fn tools_called(&self, id: &RunId) -> Result<Vec<String>, OpError> {
        let id = id.clone();
        self.store
            .read::<_, OpError, _>(move |snapshot| {
                let mut names: Vec<String> = Vec::new();
                for call in snapshot.tool_calls().of_run(&id)? {
                    if !names.contains(&call.name) {
                        names.push(call.name);
                    }
                }
                Ok(names)
            })
            .await
    }

    /// What a client that joins in the middle needs: the text so far.
    pub fn live(&self, id: &RunId) -> Option<LiveSnapshot> {
        self.live.get(id).map(|live| live.snapshot())
    }

    /// Unfinished runs of a session, the active one first. A run that has ended, and is only being put
    /// away, is not among them.
    pub fn active_of(&self, session: &SessionKey) -> Vec<RunId> {
        let is_over = |id: &RunId| self.live.get(id).is_none_or(|live| live.run().state.is_over());
        self.unfinished_of(session).into_iter().filter(|id| !is_over(id)).collect()
    }

    /// Those that this node drives, the active one first, then those of another one.
    fn unfinished_of(&self, session: &SessionKey) -> Vec<RunId> {
        let mut unfinished = self.mailboxes.unfinished(session);
        unfinished.extend(self.live.elsewhere(session));
        unfinished
    }

    /// Unfinished runs that this node drives.
    pub fn unfinished_count(&self) -> usize {
        self.live.here()
    }

    /// Waits until this node drives no run.
    pub async fn idle(&self) {
        loop {
            let changed = self.live.appeared();
            if self.live.here() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Follows one unfinished run; `None` when it is over or unknown.
    pub fn follow(&self, id: &RunId) -> Option<RunFollower> {
        let live = self.live.get(id)?;
        Some(RunFollower::new(live.channel.subscribe()))
    }

    /// Waits until the run is over. Unknown runs are waited for too: they may start later.
    /// `None` when the time is up first.
    pub async fn wait(&self, id: &RunId, limit: Duration) -> Result<Option<Run>, OpError> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut last_seen: Option<Run> = None;
        loop {
            let appeared = self.live.appeared();
            if let Some(live) = self.live.get(id) {
                match tokio::time::timeout_at(deadline, live.ended()).await {
                    Ok(()) => {
                        last_seen = Some(live.run());
                        continue;
                    }
                    Err(_) => return Ok(None),
                }
            }
            // A run that was deleted with its session is known only to those who saw its end.
            match self.stored(id).await?.or(last_seen.take()) {
                Some(run) if run.state.is_over() => return Ok(Some(run)),
                _ => {
                    if tokio::time::timeout_at(deadline, appeared).await.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Asks a run to stop. Returns once it is marked; its terminal event follows.
    pub async fn cancel(self: &Arc<Self>, id: &RunId, cause: StopCause) -> Result<Cancelled, OpError> {
        let Some(live) = self.live.get(id).filter(|live| live.is_here) else {
            return self.cancel_elsewhere(id, cause).await;
        };
        if live.run().state.is_over() {
            return Ok(Cancelled { changed: false, run: live.run() });
        }
        self.cancel_here(&live, cause).await?;
        Ok(Cancelled { changed: true, run: live.run() })
    }

    async fn cancel_here(self: &Arc<Self>, live: &Arc<LiveRun>, cause: StopCause) -> Result<(), OpError> {
        let id = &live.reference.run_id;
        live.stop(cause);
        if self.mailboxes.withdraw(&live.key, id) {
            self.finish_unstarted(live, cause).await?;
            self.pump(&live.key);
        } else {
            self.remember_stop(id, cause).await?;
        }
        Ok(())
    }

    /// Another node drives it, or none: what is written down reaches whoever does.
    async fn cancel_elsewhere(&self, id: &RunId, cause: StopCause) -> Result<Cancelled, OpError> {
        let changed = self.remember_stop(id, cause).await?;
        let run = self.stored(id).await?.ok_or_else(|| OpError::not_found(Noun::Run, id))?;
        Ok(Cancelled { changed, run })
    }

    /// Writes down that a run shall stop: whoever was told so must not see it go on after a restart.
    /// Gives `false` when it was over.
    async fn remember_stop(&self, id: &RunId, cause: StopCause) -> Result<bool, OpError> {
        let (id, by, now) = (id.clone(), self.cluster.me(), self.clock.now());
        self.store
            .write::<_, OpError, _>(move |tx| {
                let Some(run) = tx.runs().get(&id)?.filter(|run| !run.state.is_over()) else { return Ok(false) };
                if run.stop_cause.is_none() {
                    if run.session_key.kind() != SessionKind::Ephemeral {
                        tx.events_mut().append(now, &Event::StopAsked { run: live::reference(&run), cause, by })?;
                    }
                    tx.runs_mut().update(&Run { stop_cause: Some(cause), ..run })?;
                }
                Ok(true)
            })
            .await
    }

    /// Asks every unfinished run of a session to stop; gives those that were.
    pub async fn cancel_session(
        self: &Arc<Self>,
        session: &SessionKey,
        cause: StopCause,
    ) -> Result<Vec<RunId>, OpError> {
        let mut stopped = Vec::new();
        // Waiting runs first, so that none of them starts when the active one ends.
        for id in self.unfinished_of(session).into_iter().rev() {
            if self.cancel(&id, cause).await?.changed {
                stopped.push(id);
            }
        }
        stopped.reverse();
        Ok(stopped)
    }

    /// Hands further input to an unfinished run. It is stored before this returns.
    pub async fn respond(&self, id: &RunId, text: &str) -> Result<Responded, OpError> {
        let live = self.live.get(id);
        if live.is_none() {
            let run = self.stored(id).await?.ok_or_else(|| OpError::not_found(Noun::Run, id))?;
            if run.state.is_over() {
                return Ok(Responded::Ended);
            }
        }
        let limit = usize::try_from(self.limits().run_inputs).unwrap_or(usize::MAX);
        let input = PendingInput { id: self.ids.input(), text: text.to_owned(), at: self.clock.now() };
        let (run_id, stored) = (id.clone(), input.clone());
        let (by, now) = (self.cluster.me(), self.clock.now());
        let accepted = self
            .store
            .write::<_, OpError, _>(move |tx| {
                let Some(run) = tx.runs().get(&run_id)?.filter(|run| !run.state.is_over()) else {
                    return Ok(None);
                };
                if tx.runs().inputs(&run_id)?.len() >= limit {
                    return Err(OpError::busy(format!("{limit} inputs already wait for run `{run_id}`"), 1000));
                }
                tx.runs_mut().add_input(&run_id, &stored)?;
                if run.session_key.kind() != SessionKind::Ephemeral {
                    let event = Event::InputAccepted { run: live::reference(&run), input_id: stored.id.clone(), by };
                    tx.events_mut().append(now, &event)?;
                }
                Ok(Some(run.awaiting.is_some()))
            })
            .await?;
        let Some(mut was_waiting) = accepted else { return Ok(Responded::Ended) };
        if let Some(live) = live.filter(|live| live.is_here) {
            was_waiting = live.is_awaiting_input();
            live.push_input(input);
        }
        Ok(if was_waiting { Responded::Delivered } else { Responded::Queued })
    }

    /// Removes sessions that were idle for too long and events that nobody can resume from any more;
    /// one node of the cluster does it, at most once in `every`.
    pub async fn tidy(self: &Arc<Self>, every: Duration) -> Result<(), OpError> {
        if self.cluster.is_shared() {
            let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
            let due = model::Timestamp::from_ms(self.clock.now().as_ms() / every * every);
            if !self.cluster.claim("tidy", due).await? {
                return Ok(());
            }
        }
        for key in self.sessions.expired().await? {
            if self.unfinished_of(&key).is_empty() {
                self.delete_session(&key).await?;
            }
        }
        self.sessions.prune_events().await?;
        Ok(())
    }

    async fn stored(&self, id: &RunId) -> Result<Option<Run>, OpError> {
        let (id, now) = (id.clone(), self.clock.now());
        self.store
            .read::<_, OpError, _>(move |snapshot| match snapshot.runs().get(&id)? {
                Some(run) => Ok(Some(run)),
                None => Ok(finished::find(snapshot, &id, now)?),
            })
            .await
    }
}
