//! Sub-agents: work that one agent gives to another, each in a session of its own.
//!
//! A spawned run is an ordinary run: written down before anybody is told, and known for as long as
//! its session exists. What this adds is who asked for it, how many children of one parent run at
//! the same time, and what the child is told beside its task. After a restart the runs that waited
//! for a place are taken up like all others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{AgentId, Ids, Noun, OpError, Principal, Run, RunId, RunOptions, SessionKey, StopCause};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::agents::Agents;
use crate::lifecycle::Lifecycle;
use crate::runs::{NewRun, Runs, StartGuard};
use crate::sessions::Sessions;

/// What marks the sessions of sub-agents: `agent:<child>:subagent:<parent agent>:<id>`.
const MARK: &str = "subagent";

/// One look at a run that may take long.
const LOOK: Duration = Duration::from_secs(3600);

pub(crate) struct Parts {
    pub ids: Arc<Ids>,
    pub lifecycle: Lifecycle,
    pub agents: Arc<Agents>,
    pub sessions: Arc<Sessions>,
    pub runs: Arc<Runs>,
}

pub struct Subagents {
    ids: Arc<Ids>,
    lifecycle: Lifecycle,
    agents: Arc<Agents>,
    sessions: Arc<Sessions>,
    runs: Arc<Runs>,
    families: Families,
}

/// Work for another agent.
#[derive(Debug, Clone)]
pub struct NewSubagent {
    /// The session that asks; the main session of its agent when the asker has none.
    pub parent: SessionKey,
    pub agent: AgentId,
    pub task: String,
    /// The text for the system part is put behind what is said of the parent.
    pub options: RunOptions,
    /// The child is told a summary of the parent's conversation.
    pub with_parent_summary: bool,
    pub limits: FamilyLimits,
    pub origin: &'static str,
}

/// Bounds of the children of one parent. Those in force when the first child is spawned hold until the last one ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilyLimits {
    /// Children that run at the same time; at least 1.
    pub children: u32,
    /// Children that wait for a place; beyond it a spawn is refused.
    pub queued: u32,
    /// How long a child waits for a place before it is cancelled.
    pub queue_wait: Duration,
}

/// Work that was taken on.
#[derive(Debug, Clone, PartialEq)]
pub struct Spawned {
    pub run: Run,
    /// As many children as may run at the same time run already.
    pub queued: bool,
}

/// A spawned run as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct SubagentRun {
    pub run: Run,
    pub task: String,
}

impl Subagents {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { ids, lifecycle, agents, sessions, runs } = parts;
        Arc::new(Self { ids, lifecycle, agents, sessions, runs, families: Families::default() })
    }

    /// Takes on work for an agent: when this returns `Ok` the task is on disk, and `ended` is called
    /// once it is over, unless the gateway stops first.
    ///
    /// Errors: `InvalidParams` (no task), `NotFound` (agent, model), `Conflict` (agent disabled),
    /// `Busy` (too many children run and wait), `Unavailable` (draining, no database).
    pub async fn spawn(
        self: &Arc<Self>,
        principal: &Principal,
        new: NewSubagent,
        ended: impl FnOnce(&Run) + Send + 'static,
    ) -> Result<Spawned, OpError> {
        let NewSubagent { parent, agent, task, mut options, with_parent_summary, limits, origin } = new;
        self.agents.require(&agent)?;
        if task.trim().is_empty() {
            return Err(OpError::invalid("task", "must not be empty"));
        }
        let place = self.families.place(&parent, limits)?;
        let summary = if with_parent_summary { self.sessions.summary(&parent).await? } else { None };
        options.extra_system = Some(told(&parent, summary, options.extra_system.take()));
        let key = self.key(&agent, &parent)?;
        let new = NewRun { options, ..NewRun::new(key.clone(), task, origin) };
        let accepted = self.runs.accept(principal, new).await?;
        let id = accepted.run.id.clone();
        let marked = self.sessions.configure(&key, move |settings| settings.spawned_by = Some(parent)).await;
        if let Err(error) = marked {
            self.runs.cancel(&id, StopCause::User).await?;
            return Err(error);
        }
        let slot = place.try_slot();
        let queued = slot.is_none();
        let waits = Waiting { start: accepted.start, slot, limit: limits.queue_wait };
        let subagents = Arc::clone(self);
        self.lifecycle.spawn(async move { subagents.see_through(&id, waits, place, ended).await });
        Ok(Spawned { run: accepted.run, queued })
    }

    /// A spawned run; `NotFound` for any other.
    pub async fn get(&self, id: &RunId) -> Result<SubagentRun, OpError> {
        let run = self.runs.get(id).await?.filter(|run| parent_of(&run.session_key).is_some());
        let run = run.ok_or_else(|| OpError::not_found(Noun::Run, id))?;
        let task = self.sessions.message_text(&run.message_id).await?.unwrap_or_default();
        Ok(SubagentRun { run, task })
    }

    fn key(&self, agent: &AgentId, parent: &SessionKey) -> Result<SessionKey, OpError> {
        let id = self.ids.run();
        let id = id.as_str().trim_start_matches(RunId::PREFIX);
        SessionKey::of_agent(agent, &format!("{MARK}:{}:{id}", parent.agent())).map_err(OpError::internal)
    }

    /// Starts the run once it has a slot, and keeps its slot until it is over.
    async fn see_through(
        self: Arc<Self>,
        id: &RunId,
        waits: Waiting,
        place: Place,
        ended: impl FnOnce(&Run) + Send + 'static,
    ) {
        let stopping = self.lifecycle.stopping().clone();
        let Waiting { start, slot, limit } = waits;
        let slot = match slot {
            Some(slot) => Some(slot),
            None => tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                // Cancelled while it waited.
                _ = self.over(id) => None,
                slot = place.slot() => slot,
                () = tokio::time::sleep(limit) => {
                    if let Err(error) = self.runs.cancel(id, StopCause::Timeout).await {
                        tracing::warn!(%error, run_id = %id, "a run that waited too long for a place could not be cancelled");
                    }
                    None
                }
            },
        };
        drop(start);
        let run = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            run = self.over(id) => run,
        };
        drop((slot, place));
        if let Some(run) = run {
            ended(&run);
        }
    }

    /// The run once it is over; `None` when the database cannot tell.
    async fn over(&self, id: &RunId) -> Option<Run> {
        loop {
            match self.runs.wait(id, LOOK).await {
                Ok(Some(run)) => return Some(run),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, run_id = %id, "the end of a spawned run cannot be read");
                    return None;
                }
            }
        }
    }
}

/// A run between being accepted and having a slot.
struct Waiting {
    start: Option<StartGuard>,
    slot: Option<OwnedSemaphorePermit>,
    limit: Duration,
}

/// The main session of the agent that spawned this one; `None` when it is no sub-agent's.
pub fn parent_of(session: &SessionKey) -> Option<SessionKey> {
    let (agent, id) = session.rest().strip_prefix(MARK)?.strip_prefix(':')?.split_once(':')?;
    (!id.is_empty()).then_some(())?;
    AgentId::parse(agent).ok().map(|agent| SessionKey::main(&agent))
}

/// What a child is told beside its task.
fn told(parent: &SessionKey, summary: Option<String>, extra: Option<String>) -> String {
    let mut text = format!(
        "You were given this task by the agent `{}`. Do it and answer with its result; nobody will answer questions.",
        parent.agent()
    );
    for more in summary.map(|summary| format!("What was said before:\n{summary}")).into_iter().chain(extra) {
        text.push_str("\n\n");
        text.push_str(&more);
    }
    text
}

/// Parents with children that are not over yet.
#[derive(Clone, Default)]
struct Families(Arc<Mutex<HashMap<SessionKey, Family>>>);

struct Family {
    slots: Arc<Semaphore>,
    /// Children that run or wait; bounded by the limits of the spawn that made the family.
    members: u64,
}

/// A child's place in its family; given back when it is dropped.
struct Place {
    families: Families,
    parent: SessionKey,
    slots: Arc<Semaphore>,
}

impl Families {
    fn place(&self, parent: &SessionKey, limits: FamilyLimits) -> Result<Place, OpError> {
        let mut families = self.lock();
        let children = limits.children.max(1);
        let family = families.entry(parent.clone()).or_insert_with(|| Family {
            slots: Arc::new(Semaphore::new(usize::try_from(children).unwrap_or(Semaphore::MAX_PERMITS))),
            members: 0,
        });
        if family.members >= u64::from(children) + u64::from(limits.queued) {
            let words = format!("{} sub-agents of session `{parent}` run or wait already", family.members);
            return Err(OpError::busy(words, 1000));
        }
        family.members += 1;
        Ok(Place { families: self.clone(), parent: parent.clone(), slots: Arc::clone(&family.slots) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Family>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn try_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Waits in the order of arrival. Cancel safe.
    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut families = self.families.lock();
        if let Some(family) = families.get_mut(&self.parent) {
            family.members -= 1;
            if family.members == 0 {
                families.remove(&self.parent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SessionKey {
        SessionKey::parse(text).expect(text)
    }

    #[test]
    fn the_key_of_a_sub_agent_names_its_parent() {
        assert_eq!(parent_of(&key("agent:work:subagent:main:01")), Some(key("agent:main:main")));
        for other in ["agent:work:main", "agent:work:subagent:main", "subagent:agent:main:x", "agent:work:subagent:_:x"]
        {
            assert_eq!(parent_of(&key(other)), None, "{other}");
        }
    }

    #[test]
    fn a_family_has_room_for_those_that_run_and_those_that_wait() {
        let families = Families::default();
        let limits = FamilyLimits { children: 1, queued: 1, queue_wait: Duration::ZERO };
        let parent = key("agent:main:main");
        let first = families.place(&parent, limits).expect("a place");
        let slot = first.try_slot().expect("a slot");
        let second = families.place(&parent, limits).expect("a place in the queue");
        assert!(second.try_slot().is_none());
        let refused = families.place(&parent, limits).err().expect("no place");
        assert_eq!(refused.kind, model::ErrorKind::Busy);
        assert!(families.place(&key("agent:work:main"), limits).is_ok(), "another family");
        drop((slot, first));
        assert!(second.try_slot().is_some());
        drop(second);
        assert!(families.lock().is_empty());
    }
}
