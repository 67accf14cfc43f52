//! What is known of the database behind the lock, without asking it again.
//!
//! It was asked once for many units ([`store::Foresight`], `questions.rs`), and is kept true by whatever this connection
//! writes. Nobody else writes while the transaction is open; with its end all of it is forgotten.
//! What a statement may have changed in a way that is not followed here is forgotten at once.

use std::collections::{HashMap, HashSet};

use model::{Fence, Message, MessageId, Run, RunId, Session, SessionId, SessionKey};
use store::Seen;

#[derive(Debug, Default)]
pub struct Known {
    /// `None` for one that is not there.
    pub sessions: HashMap<SessionKey, Option<Session>>,
    /// `None` for one that is nobody's.
    pub owners: HashMap<SessionKey, Option<Fence>>,
    /// The last place that is taken; 0 in an empty transcript.
    pub ends: HashMap<SessionId, i64>,
    /// `None` for one that is not there.
    pub runs: HashMap<RunId, Option<KnownRun>>,
    pub free_messages: HashSet<MessageId>,
    /// In the order in which they were accepted.
    pub unfinished: HashMap<SessionKey, Vec<Run>>,
    /// What was seen of a transcript, and what came behind that; `None` when it does not begin so any more.
    pub behind: HashMap<SessionId, (Seen, Option<Vec<Message>>)>,
    /// Something was written since the last mark.
    has_changed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRun {
    pub session: SessionKey,
    pub is_over: bool,
    pub owner: Fence,
    pub has_inputs: bool,
    pub has_calls: bool,
}

impl Known {
    pub fn session(&self, key: &SessionKey) -> Option<&Option<Session>> {
        self.sessions.get(key)
    }

    pub fn owner(&self, session: &SessionKey) -> Option<Option<Fence>> {
        self.owners.get(session).copied()
    }

    /// The next free place, when it is known and the id of the message is free too.
    pub fn place_of(&self, message: &MessageId, session: &SessionId) -> Option<i64> {
        let end = self.ends.get(session).filter(|_| self.free_messages.contains(message))?;
        Some(end + 1)
    }

    pub fn run(&self, id: &RunId) -> Option<Option<&KnownRun>> {
        self.runs.get(id).map(Option::as_ref)
    }

    pub fn unfinished(&self, session: &SessionKey) -> Option<&Vec<Run>> {
        self.unfinished.get(session)
    }

    pub fn behind(&self, session: &SessionId, seen: &Seen) -> Option<&Option<Vec<Message>>> {
        self.behind.get(session).filter(|(known, _)| known == seen).map(|(_, behind)| behind)
    }

    /// The run is there and nothing hangs on it of what `hangs` looks at.
    pub fn has_none(&self, id: &RunId, hangs: impl FnOnce(&KnownRun) -> bool) -> bool {
        self.run(id).flatten().is_some_and(|run| !hangs(run))
    }

    pub fn put_session(&mut self, session: &Session) {
        self.has_changed = true;
        self.sessions.insert(session.key.clone(), Some(session.clone()));
    }

    pub fn append(&mut self, message: &MessageId, session: &SessionId, place: i64) {
        self.has_changed = true;
        self.free_messages.remove(message);
        self.behind.remove(session);
        if let Some(end) = self.ends.get_mut(session) {
            *end = place;
        }
    }

    /// Messages were moved or removed.
    pub fn forget_ends(&mut self) {
        self.has_changed = true;
        self.ends.clear();
        self.behind.clear();
    }

    pub fn insert_run(&mut self, run: &Run) {
        self.has_changed = true;
        let (session, is_over) = (run.session_key.clone(), run.state.is_over());
        let known = KnownRun { session, is_over, owner: run.owner, has_inputs: false, has_calls: false };
        self.runs.insert(run.id.clone(), Some(known));
        self.owners.remove(&run.session_key);
        self.unfinished.remove(&run.session_key);
        if !is_over {
            // The last unfinished run of its session, which says whose that is.
            self.owners.insert(run.session_key.clone(), Some(run.owner));
        }
    }

    pub fn update_run(&mut self, run: &Run) {
        self.has_changed = true;
        let Some(Some(known)) = self.runs.get_mut(&run.id) else {
            // It may have been another session's.
            self.owners.clear();
            self.unfinished.clear();
            return;
        };
        (known.is_over, known.owner) = (run.state.is_over(), run.owner);
        let former = std::mem::replace(&mut known.session, run.session_key.clone());
        for session in [&former, &run.session_key] {
            self.owners.remove(session);
            self.unfinished.remove(session);
        }
    }

    pub fn set_inputs(&mut self, run: &RunId, has_inputs: bool) {
        self.has_changed = true;
        if let Some(Some(known)) = self.runs.get_mut(run) {
            known.has_inputs = has_inputs;
        }
    }

    pub fn add_call(&mut self, run: &RunId) {
        self.has_changed = true;
        if let Some(Some(known)) = self.runs.get_mut(run) {
            known.has_calls = true;
        }
    }

    /// Runs, nodes or holds changed otherwise.
    pub fn forget_owners(&mut self) {
        self.has_changed = true;
        self.owners.clear();
    }

    /// A unit begins.
    pub fn mark(&mut self) {
        self.has_changed = false;
    }

    /// What was written since the mark is undone.
    pub fn undo(&mut self) {
        if self.has_changed {
            self.forget();
        }
    }

    pub fn forget(&mut self) {
        *self = Known { has_changed: true, ..Known::default() };
    }
}
