//! What calls and the connection they came through share: spellings, joined runs, subscriptions,
//! and answers that are yet to come.

use std::any::Any;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{AgentId, Cursor, OpError, Pattern, RunId, SessionKey};
use ops::{Call, Connection, Subscribed};

use crate::Argent;
use crate::events::Frame;
use crate::framing::ReplyTo;
use crate::keys;

/// Sessions whose spelling a connection is remembered to use; the oldest is forgotten.
const SPELLINGS_MAX: usize = 256;
/// Runs that a connection has joined or waits for; the oldest is forgotten.
const RUNS_MAX: usize = 256;
/// Transcripts that a connection follows.
pub const TRANSCRIPTS_MAX: usize = 256;

pub struct Link {
    pub argent: Arc<Argent>,
    id: Box<str>,
    /// The client advertised `tool-events`.
    pub wants_tools: bool,
    /// The device that proved itself on this connection.
    pub device_id: Option<Box<str>>,
    state: Mutex<State>,
}

/// Empty maps take no memory: most connections never fill them.
#[derive(Default)]
struct State {
    spellings: HashMap<SessionKey, Arc<str>>,
    spelled: VecDeque<SessionKey>,
    joined: HashMap<RunId, Joined>,
    joined_order: VecDeque<RunId>,
    awaited: Vec<Awaited>,
    notices: Vec<Frame>,
    follows_sessions: bool,
    transcripts: HashSet<SessionKey>,
}

/// What of a run a connection sees besides its text, because it started or joined it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Joined {
    pub tools: bool,
    /// Results too: the session's verbose level is `full`.
    pub results: bool,
    /// Reasoning: the session's reasoning level is `stream`.
    pub thinking: bool,
}

/// A call of `agent` whose second answer is due when the run ends.
struct Awaited {
    run: RunId,
    reply: ReplyTo,
    session_id: String,
    /// The first answer is on its way.
    acknowledged: bool,
    /// The run ended before that.
    outcome: Option<Arc<crate::outcome::Outcome>>,
}

/// A second answer that can be sent now.
pub struct Due {
    pub reply: ReplyTo,
    pub session_id: String,
    pub outcome: Arc<crate::outcome::Outcome>,
}

impl Link {
    pub fn new(argent: Arc<Argent>, id: &str, wants_tools: bool, device_id: Option<&str>) -> Self {
        Self { argent, id: id.into(), wants_tools, device_id: device_id.map(Box::from), state: Mutex::default() }
    }

    /// The canonical form of a key that a client wrote; events will spell it like that from now on.
    pub fn key(&self, text: &str, agent: &AgentId, field: &str) -> Result<SessionKey, OpError> {
        let key = keys::canonical(text, agent, field)?;
        let mut state = self.lock();
        if keys::spell(&key) == text {
            state.spellings.remove(&key);
        } else if state.spellings.insert(key.clone(), Arc::from(text)).is_none() {
            state.spelled.push_back(key.clone());
            if state.spelled.len() > SPELLINGS_MAX
                && let Some(oldest) = state.spelled.pop_front()
            {
                state.spellings.remove(&oldest);
            }
        }
        Ok(key)
    }

    /// How the client writes a session; `None` = canonically.
    pub fn spelling(&self, key: &SessionKey) -> Option<Arc<str>> {
        self.lock().spellings.get(key).cloned()
    }

    /// The connection takes part in a run from now on.
    pub fn join(&self, run: &RunId, joined: Joined) {
        if joined == Joined::default() {
            return;
        }
        let mut state = self.lock();
        if state.joined.insert(run.clone(), joined).is_none() {
            state.joined_order.push_back(run.clone());
            if state.joined_order.len() > RUNS_MAX
                && let Some(oldest) = state.joined_order.pop_front()
            {
                state.joined.remove(&oldest);
            }
        }
    }

    pub fn joined(&self, run: &RunId) -> Joined {
        self.lock().joined.get(run).copied().unwrap_or_default()
    }

    /// The run is over: nothing more will come of it.
    pub fn leave(&self, run: &RunId) {
        let mut state = self.lock();
        if state.joined.remove(run).is_some() {
            state.joined_order.retain(|joined| joined != run);
        }
    }

    /// Announces that a call wants a second answer. Called before it is known whether the run is
    /// over, so that no end slips through in between.
    pub fn await_end(&self, run: &RunId, reply: &ReplyTo) -> Result<(), OpError> {
        let mut state = self.lock();
        if state.awaited.len() >= RUNS_MAX {
            return Err(OpError::busy(format!("{RUNS_MAX} runs are awaited on this connection already"), 1000));
        }
        state.awaited.push(Awaited {
            run: run.clone(),
            reply: reply.clone(),
            session_id: String::new(),
            acknowledged: false,
            outcome: None,
        });
        Ok(())
    }

    /// The transcript that the run belongs to is known now.
    pub fn awaits_in(&self, reply: &ReplyTo, session_id: &str) {
        for awaited in self.lock().awaited.iter_mut().filter(|awaited| awaited.reply == *reply) {
            session_id.clone_into(&mut awaited.session_id);
        }
    }

    /// The call got its one and only answer.
    pub fn await_no_more(&self, reply: &ReplyTo) {
        self.lock().awaited.retain(|awaited| awaited.reply != *reply);
    }

    /// The first answer of a call is on its way; gives the second when the run is over already.
    pub fn acknowledged(&self, reply: &ReplyTo) -> Option<Due> {
        let mut state = self.lock();
        let index = state.awaited.iter().position(|awaited| awaited.reply == *reply)?;
        match state.awaited[index].outcome.take() {
            Some(outcome) => {
                let awaited = state.awaited.remove(index);
                Some(Due { reply: awaited.reply, session_id: awaited.session_id, outcome })
            }
            None => {
                state.awaited[index].acknowledged = true;
                None
            }
        }
    }

    /// A run is over; gives the second answers that can be sent now.
    pub fn ended(&self, run: &RunId, outcome: impl FnOnce() -> Arc<crate::outcome::Outcome>) -> Vec<Due> {
        let mut state = self.lock();
        if !state.awaited.iter().any(|awaited| awaited.run == *run) {
            return Vec::new();
        }
        let outcome = outcome();
        let mut due = Vec::new();
        let mut kept = Vec::new();
        for mut awaited in std::mem::take(&mut state.awaited) {
            if awaited.run != *run {
                kept.push(awaited);
            } else if awaited.acknowledged {
                due.push(Due { reply: awaited.reply, session_id: awaited.session_id, outcome: Arc::clone(&outcome) });
            } else {
                awaited.outcome = Some(Arc::clone(&outcome));
                kept.push(awaited);
            }
        }
        state.awaited = kept;
        due
    }

    /// An event for this connection alone, sent right after the answer of the call in progress.
    pub fn notify(&self, frame: Frame) {
        self.lock().notices.push(frame);
    }

    pub fn take_notices(&self) -> Vec<Frame> {
        std::mem::take(&mut self.lock().notices)
    }

    pub fn follow_sessions(&self, follow: bool) {
        self.lock().follows_sessions = follow;
    }

    pub fn follows_sessions(&self) -> bool {
        self.lock().follows_sessions
    }

    pub fn follow_transcript(&self, key: &SessionKey) -> Result<(), OpError> {
        let mut state = self.lock();
        if !state.transcripts.contains(key) && state.transcripts.len() >= TRANSCRIPTS_MAX {
            return Err(OpError::conflict(format!("{TRANSCRIPTS_MAX} sessions are followed already")));
        }
        state.transcripts.insert(key.clone());
        Ok(())
    }

    pub fn unfollow_transcript(&self, key: &SessionKey) {
        self.lock().transcripts.remove(key);
    }

    pub fn follows_transcript(&self, key: &SessionKey) -> bool {
        self.lock().transcripts.contains(key)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call of `agent` in the native form: it knows where its second answer goes.
pub struct AgentCall {
    pub link: Arc<Link>,
    pub reply: ReplyTo,
}

/// The connection of a call; every call of this dialect has one.
pub fn link(call: &Call) -> Result<&Link, OpError> {
    let connection = call.require_connection()?.as_any();
    let found = connection
        .downcast_ref::<Link>()
        .or_else(|| connection.downcast_ref::<AgentCall>().map(|agent_call| &*agent_call.link));
    found.ok_or_else(|| OpError::internal("a call of this dialect came through a connection of another"))
}

/// Where the second answer of a call goes, if it can have one.
pub fn second_reply(call: &Call) -> Option<&ReplyTo> {
    let connection = call.connection.as_ref()?.as_any();
    connection.downcast_ref::<AgentCall>().map(|agent_call| &agent_call.reply)
}

impl Connection for Link {
    fn id(&self) -> &str {
        &self.id
    }

    /// This dialect subscribes by methods of its own.
    fn subscribe(&self, _: Vec<Pattern>, _: Option<Cursor>) -> Result<Subscribed, String> {
        Err(String::from("this dialect knows no event patterns"))
    }

    fn unsubscribe(&self, _: &[String]) -> Subscribed {
        Subscribed { changed: Vec::new(), active: Vec::new(), cursor: self.argent.services.bus.newest() }
    }

    fn patterns(&self) -> Vec<String> {
        Vec::new()
    }

    fn started(&self, run: &RunId) {
        self.join(run, Joined { tools: self.wants_tools, ..Joined::default() });
    }

    fn runs_started(&self) -> Vec<RunId> {
        self.lock().joined_order.iter().cloned().collect()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Connection for AgentCall {
    fn id(&self) -> &str {
        self.link.id()
    }

    fn subscribe(&self, patterns: Vec<Pattern>, after: Option<Cursor>) -> Result<Subscribed, String> {
        self.link.subscribe(patterns, after)
    }

    fn unsubscribe(&self, patterns: &[String]) -> Subscribed {
        self.link.unsubscribe(patterns)
    }

    fn patterns(&self) -> Vec<String> {
        self.link.patterns()
    }

    fn started(&self, run: &RunId) {
        self.link.started(run);
    }

    fn runs_started(&self) -> Vec<RunId> {
        self.link.runs_started()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
