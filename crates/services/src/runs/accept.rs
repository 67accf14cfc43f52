//! Taking a message in: written down before anybody is told.

use std::sync::Arc;

use model::{
    Content, Event, MessageId, NewMessage, OpError, Principal, Run, RunId, RunOptions, SessionKey, SessionKind,
};
use store::Foresight;

use super::Runs;
use super::finished;
use super::live::{LiveRun, reference};
use super::persist::foreseen;
use crate::sessions::{append_message, open_session};

/// Longest message, in characters.
pub const MESSAGE_CHARS_MAX: usize = 262_144;

/// A message for an agent, and how its turn shall be run.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The run's id when the client gave an idempotency key; a second message with the same id is
    /// not accepted again, the first run is answered instead.
    pub id: Option<RunId>,
    pub session: SessionKey,
    pub content: Content,
    /// Conversation that precedes the message; only for ephemeral sessions.
    pub prelude: Vec<NewMessage>,
    /// The message is the result of this call of `prelude`, which the client has run, and not a
    /// user's words.
    pub answers_call: Option<String>,
    pub options: RunOptions,
    /// `aleph`, `comis`, `argent`, `openai` …
    pub origin: &'static str,
    /// Refuse instead of waiting when the session is busy.
    pub only_when_free: bool,
}

impl NewRun {
    pub fn new(session: SessionKey, content: impl Into<Content>, origin: &'static str) -> Self {
        Self {
            id: None,
            session,
            content: content.into(),
            prelude: Vec::new(),
            answers_call: None,
            options: RunOptions::default(),
            origin,
            only_when_free: false,
        }
    }
}

/// A message that is written down.
pub struct Accepted {
    pub run: Run,
    /// The same id was accepted before; `run` is that run, whatever its message.
    pub duplicate: bool,
    /// Something of the session runs or waits before it.
    pub pending: bool,
    /// Starts the run when it is used or dropped; absent for duplicates.
    pub start: Option<StartGuard>,
}

/// Keeps an accepted run from starting until the answer that names it is on its way.
#[must_use = "dropping the guard starts the run"]
pub struct StartGuard {
    runs: Arc<Runs>,
    key: SessionKey,
    id: RunId,
    /// This node drives the run; else the one that does is told.
    is_here: bool,
}

impl StartGuard {
    pub fn start(self) {
        drop(self);
    }
}

impl Drop for StartGuard {
    fn drop(&mut self) {
        if self.is_here {
            self.runs.release(&self.key, &self.id);
        } else {
            self.runs.cluster.outbox().go(self.id.clone());
        }
    }
}

/// A place in the mailbox that is given back unless the run gets written down.
struct Place<'a> {
    runs: &'a Arc<Runs>,
    key: &'a SessionKey,
    id: &'a RunId,
    kept: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.runs.mailboxes.withdraw(self.key, self.id);
            self.runs.live.remove(self.id);
            self.runs.channels.close(self.id);
            self.runs.pump(self.key);
        }
    }
}

impl Runs {
    /// Accepts a message: when this returns `Ok`, message and run are on disk and the run will come
    /// to exactly one terminal state, whatever happens to the caller or to the process.
    ///
    /// Errors: `InvalidParams` (empty or too long), `NotFound` (agent, model), `Denied` (not the
    /// caller's session), `Conflict` (the id belongs to a run of another session), `Busy` (the session's queue is full), `Unavailable` (draining, no database).
    pub async fn accept(self: &Arc<Self>, principal: &Principal, new: NewRun) -> Result<Accepted, OpError> {
        self.check(principal, &new)?;
        let runs = Arc::clone(self);
        let started_by = principal.id.to_string();
        // On a task of its own: a caller that goes away in the middle must not leave half of it.
        let accepting = self.lifecycle.spawn_with(async move { runs.write_down(new, started_by).await });
        accepting.await.unwrap_or_else(|_| Err(OpError::unavailable("the gateway is stopping")))
    }

    fn check(&self, principal: &Principal, new: &NewRun) -> Result<(), OpError> {
        if self.lifecycle.is_draining() {
            return Err(OpError::unavailable("the gateway is stopping; reconnect shortly"));
        }
        if principal.confined_to.as_ref().is_some_and(|own| *own != new.session) {
            return Err(OpError::denied(format!("session `{}` is not yours", new.session)));
        }
        self.check_client_tools(new)?;
        if new.answers_call.is_some() {
            // A tool may have nothing to say, or much; its size is bounded where it comes in.
            return self.check_agent_and_model(new);
        }
        let chars = new.content.text().chars().count();
        if new.content.is_empty() || (chars == 0 && matches!(new.content, Content::Text(_))) {
            return Err(OpError::invalid("message", "must not be empty"));
        }
        if chars > MESSAGE_CHARS_MAX {
            return Err(OpError::invalid(
                "message",
                format!("has {chars} characters; at most {MESSAGE_CHARS_MAX} are accepted"),
            ));
        }
        self.check_agent_and_model(new)
    }

    fn check_agent_and_model(&self, new: &NewRun) -> Result<(), OpError> {
        self.agents.require(&new.session.agent())?;
        if let Some(model) = &new.options.model {
            self.models.require(model)?;
        }
        Ok(())
    }

    /// A call must mean one tool: the client's names are its own, and each is there once.
    fn check_client_tools(&self, new: &NewRun) -> Result<(), OpError> {
        let Some(client) = &new.options.client_tools else { return Ok(()) };
        let agent = self.agents.require(&new.session.agent())?;
        let own = self.tools.select(new.options.tools.as_deref().or(agent.tools.as_deref()));
        for (place, tool) in client.tools.iter().enumerate() {
            if own.iter().any(|checked| checked.tool().name() == tool.name) {
                let message =
                    format!("`{}` is a tool of the agent `{}` itself; give yours another name", tool.name, agent.id);
                return Err(OpError::invalid("tools", message));
            }
            if client.tools[..place].iter().any(|other| other.name == tool.name) {
                return Err(OpError::invalid("tools", format!("`{}` is there twice", tool.name)));
            }
        }
        Ok(())
    }

    async fn write_down(self: Arc<Self>, new: NewRun, started_by: String) -> Result<Accepted, OpError> {
        let id = new.id.clone().unwrap_or_else(|| self.ids.run());
        // Two messages with one id are taken one after the other: the second must see the first
        // written down, or gone.
        let _turn = match &new.id {
            Some(id) => Some(self.id_locks.lock(id).await),
            None => None,
        };
        let known = self.live.get(&id).filter(|live| live.is_here).map(|live| live.run());
        if let Some(run) = known {
            return duplicate(run, &new.session);
        }
        if new.id.is_some()
            && self.live.get(&id).is_some()
            && let Some(run) = self.stored(&id).await?
        {
            // Another node drives it; the picture of it stays.
            return duplicate(run, &new.session);
        }
        // A database that is this node's alone has nothing to take over.
        let _order = if self.cluster.is_shared() { Some(self.taking_over.read().await) } else { None };
        let limit = usize::try_from(self.limits().session_queue).unwrap_or(usize::MAX);
        let limit = if new.only_when_free { 0 } else { limit };
        let key = new.session.clone();
        let Some(pending) = self.mailboxes.enqueue(&key, &id, limit) else {
            // A message that was taken before needs no place.
            if new.id.is_some()
                && let Some(run) = self.stored(&id).await?
            {
                return duplicate(run, &key);
            }
            let words = if new.only_when_free { "is busy" } else { "has too many waiting messages" };
            return Err(OpError::busy(format!("session `{key}` {words}"), 1000));
        };
        let mut place = Place { runs: &self, key: &key, id: &id, kept: false };
        let mut new = new;
        let whose = (started_by.as_str(), &key.agent());
        self.restore(whose, &mut new.prelude, &mut new.answers_call).await?;
        let run = self.draft(&new, &id, started_by);
        let drafted = run.session_id.clone();
        let live = LiveRun::new(run.clone(), self.channels.open(&id), Vec::new());
        self.live.insert(Arc::clone(&live));
        match self.store_run(run, &live, new, pending).await? {
            Written::New(run) if run.owner != self.cluster.me() => {
                self.mailboxes.withdraw(&key, &id);
                self.live.insert(LiveRun::elsewhere(Run::clone(&run), self.channels.open(&id)));
                place.kept = true;
                drop(place);
                metrics::counter!("patchbay_runs_accepted_total", "origin" => run.origin.clone()).increment(1);
                let start = StartGuard { runs: Arc::clone(&self), key, id, is_here: false };
                Ok(Accepted { run: *run, duplicate: false, pending: true, start: Some(start) })
            }
            Written::New(run) => {
                place.kept = true;
                drop(place);
                live.update(|held| {
                    // A reset that came in between has given it another transcript already.
                    if held.session_id == drafted {
                        held.session_id = run.session_id.clone();
                    }
                });
                metrics::counter!("patchbay_runs_accepted_total", "origin" => run.origin.clone()).increment(1);
                if live.cancel.is_cancelled() && !self.mailboxes.unfinished(&key).contains(&id) {
                    // Cancelled while it was being written down: only now is there a run to end.
                    self.finish_unstarted(&live, live.cause()).await?;
                    return Ok(Accepted { run: live.run(), duplicate: false, pending, start: None });
                }
                let start = StartGuard { runs: Arc::clone(&self), key, id, is_here: true };
                Ok(Accepted { run: *run, duplicate: false, pending, start: Some(start) })
            }
            Written::Known(run) => duplicate(*run, &key),
        }
    }

    fn draft(&self, new: &NewRun, id: &RunId, started_by: String) -> Run {
        let (key, message_id) = (new.session.clone(), self.ids.message());
        Run {
            session_id: self.ids.session(),
            started_by,
            origin: new.origin.to_owned(),
            options: new.options.clone(),
            ..Run::pending(id.clone(), key, message_id, self.clock.now(), self.cluster.me())
        }
    }

    async fn store_run(&self, run: Run, live: &Arc<LiveRun>, new: NewRun, pending: bool) -> Result<Written, OpError> {
        let (live, me) = (Arc::clone(live), self.cluster.me());
        let (has_given_id, only_when_free) = (new.id.is_some(), new.only_when_free);
        let is_shared = self.cluster.is_shared();
        let limit = self.limits().session_queue;
        let prelude: Vec<(MessageId, NewMessage)> =
            new.prelude.into_iter().map(|message| (self.ids.message(), message)).collect();
        let message = match new.answers_call {
            Some(call) => NewMessage::tool_result(call, new.content),
            None => NewMessage::user(new.content),
        };
        let foresight = Foresight {
            transcripts: vec![run.session_id.clone()],
            messages: prelude.iter().map(|(id, _)| id).chain([&run.message_id]).cloned().collect(),
            ..foreseen(&run)
        };
        self.store
            .write_foreseen::<_, OpError, _>(foresight, move |tx| {
                // An id of our own making is new.
                if has_given_id {
                    let known = match tx.runs().get(&run.id)? {
                        Some(known) => Some(known),
                        None => finished::find(tx, &run.id, run.accepted_at)?,
                    };
                    if let Some(known) = known {
                        return Ok(Written::Known(Box::new(known)));
                    }
                }
                let owner =
                    if is_shared { tx.nodes().owner_of(&run.session_key)?.unwrap_or(run.owner) } else { run.owner };
                if owner != run.owner {
                    // Its queue is another node's.
                    let waiting = tx.runs().unfinished_of(&run.session_key)?.len();
                    check_queue(&run.session_key, waiting as u64, u64::from(limit), only_when_free)?;
                }
                let now = run.accepted_at;
                let mut session = open_session(tx, &run.session_key, run.session_id.clone(), now)?;
                // Whoever cancelled it already was told so; it must not go on after a restart.
                let run = Run { session_id: session.id.clone(), stop_cause: live.run().stop_cause, owner, ..run };
                for (id, body) in &prelude {
                    append_message(tx, &mut session, id, None, now, body)?;
                }
                append_message(tx, &mut session, &run.message_id, Some(&run.id), now, &message)?;
                tx.sessions_mut().put(&session)?;
                tx.runs_mut().insert(&run)?;
                if run.session_key.kind() != SessionKind::Ephemeral {
                    let event = Event::RunAccepted {
                        run: reference(&run),
                        message_id: run.message_id.clone(),
                        text: message.content.text().into_owned(),
                        origin: run.origin.clone(),
                        pending: pending || owner != me,
                        owner,
                    };
                    tx.events_mut().append(now, &event)?;
                }
                Ok(Written::New(Box::new(run)))
            })
            .await
    }
}

/// Whether another message may wait behind those that are unfinished, one of which is active.
fn check_queue(key: &SessionKey, unfinished: u64, limit: u64, only_when_free: bool) -> Result<(), OpError> {
    if only_when_free && unfinished > 0 {
        return Err(OpError::busy(format!("session `{key}` is busy"), 1000));
    }
    if unfinished > limit {
        return Err(OpError::busy(format!("session `{key}` has too many waiting messages"), 1000));
    }
    Ok(())
}

/// A message whose id is taken: the run that has it, when it is the same conversation. Any other is
/// somebody else's message, and must neither be lost silently nor be answered with that run.
fn duplicate(run: Run, session: &SessionKey) -> Result<Accepted, OpError> {
    if run.session_key != *session {
        return Err(OpError::conflict(format!("`{}` was used before, for a message of another session", run.id)));
    }
    Ok(Accepted { run, duplicate: true, pending: false, start: None })
}

enum Written {
    New(Box<Run>),
    Known(Box<Run>),
}
