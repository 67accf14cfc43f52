//! What is known of the database behind the lock, without asking it again.
//!
//! It was asked once for many units ([`Foresight`]), and is kept true by whatever this connection
//! writes. Nobody else writes while the transaction is open; with its end all of it is forgotten.
//! What a statement may have changed in a way that is not followed here is forgotten at once.

use std::collections::{HashMap, HashSet};

use model::{Fence, MessageId, Run, RunId, Session, SessionId, SessionKey};
use store::{Foresight, StoreError};
use tokio_postgres::Row;

use crate::columns::{count, get, text};
use crate::connection::{Answer, Database};
use crate::sessions;
use crate::values::{Value, values};

#[derive(Debug, Default)]
pub struct Known {
    /// `None` for one that is not there.
    sessions: HashMap<SessionKey, Option<Session>>,
    /// `None` for one that is nobody's.
    owners: HashMap<SessionKey, Option<Fence>>,
    /// The last place that is taken; 0 in an empty transcript.
    ends: HashMap<SessionId, i64>,
    /// `None` for one that is not there.
    runs: HashMap<RunId, Option<KnownRun>>,
    free_messages: HashSet<MessageId>,
    /// Something was written since the last mark.
    has_changed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownRun {
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

    pub fn run(&self, id: &RunId) -> Option<Option<KnownRun>> {
        self.runs.get(id).copied()
    }

    /// The run is there and nothing hangs on it of what `hangs` looks at.
    pub fn has_none(&self, id: &RunId, hangs: impl FnOnce(KnownRun) -> bool) -> bool {
        self.run(id).flatten().is_some_and(|run| !hangs(run))
    }

    pub fn put_session(&mut self, session: &Session) {
        self.has_changed = true;
        self.sessions.insert(session.key.clone(), Some(session.clone()));
    }

    pub fn append(&mut self, message: &MessageId, session: &SessionId, place: i64) {
        self.has_changed = true;
        self.free_messages.remove(message);
        if let Some(end) = self.ends.get_mut(session) {
            *end = place;
        }
    }

    /// Messages were moved or removed.
    pub fn forget_ends(&mut self) {
        self.has_changed = true;
        self.ends.clear();
    }

    pub fn insert_run(&mut self, run: &Run) {
        self.has_changed = true;
        let known = KnownRun { is_over: run.state.is_over(), owner: run.owner, has_inputs: false, has_calls: false };
        self.runs.insert(run.id.clone(), Some(known));
        self.owners.remove(&run.session_key);
        if !known.is_over {
            // The last unfinished run of its session, which says whose that is.
            self.owners.insert(run.session_key.clone(), Some(run.owner));
        }
    }

    pub fn update_run(&mut self, run: &Run) {
        self.has_changed = true;
        if let Some(Some(known)) = self.runs.get_mut(&run.id) {
            (known.is_over, known.owner) = (run.state.is_over(), run.owner);
        }
        self.owners.remove(&run.session_key);
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

const OWNERS: &str = "SELECT k, COALESCE(\
    (SELECT owner FROM runs WHERE session_key = k AND NOT is_over ORDER BY ordinal DESC LIMIT 1), \
    (SELECT owner FROM session_holds JOIN nodes ON fence = owner WHERE session_key = k)) FROM unnest($1::text[]) k";

const RUNS: &str = "SELECT run_id, is_over, owner, EXISTS (SELECT 1 FROM run_inputs i WHERE i.run_id = r.run_id), \
    EXISTS (SELECT 1 FROM tool_calls c WHERE c.run_id = r.run_id) FROM runs r WHERE run_id = ANY($1)";

const ENDS: &str =
    "SELECT k, COALESCE((SELECT MAX(seq) FROM messages WHERE session_id = k), 0) FROM unnest($1::text[]) k";

const TAKEN: &str = "SELECT message_id FROM messages WHERE message_id = ANY($1)";

/// Takes in the answer to a question.
type Take = fn(&mut Known, &Foresight, &[Row]) -> Result<(), StoreError>;

/// The questions that a foresight leads to, and what becomes of their answers.
pub struct Questions<'a> {
    foresight: &'a Foresight,
    asked: Vec<(String, Vec<Value>, Take)>,
}

impl<'a> Questions<'a> {
    pub fn of(foresight: &'a Foresight) -> Self {
        let mut asked: Vec<(String, Vec<Value>, Take)> = Vec::new();
        let mut ask = |sql: String, ids: Vec<&str>, take: Take| {
            if !ids.is_empty() {
                asked.push((sql, values![ids.as_slice()], take));
            }
        };
        let keys = || foresight.sessions.iter().map(SessionKey::as_str).collect::<Vec<_>>();
        ask(sessions_with_ends(), keys(), take_sessions);
        ask(OWNERS.to_owned(), keys(), take_owners);
        ask(ENDS.to_owned(), foresight.transcripts.iter().map(SessionId::as_str).collect(), take_ends);
        ask(RUNS.to_owned(), foresight.runs.iter().map(RunId::as_str).collect(), take_runs);
        ask(TAKEN.to_owned(), foresight.messages.iter().map(MessageId::as_str).collect(), take_messages);
        Self { foresight, asked }
    }

    pub fn statements(&mut self) -> Vec<(String, Vec<Value>)> {
        self.asked.iter_mut().map(|(sql, values, _)| (std::mem::take(sql), std::mem::take(values))).collect()
    }

    /// `answers` are in the order of the statements.
    pub fn learn(self, database: &Database, answers: &[Answer]) -> Result<(), StoreError> {
        let mut known = database.known.borrow_mut();
        for ((_, _, take), (rows, _)) in self.asked.into_iter().zip(answers) {
            take(&mut known, self.foresight, rows)?;
        }
        Ok(())
    }
}

fn sessions_with_ends() -> String {
    format!(
        "SELECT {}, COALESCE((SELECT MAX(seq) FROM messages m WHERE m.session_id = s.session_id), 0) \
         FROM sessions s WHERE session_key = ANY($1)",
        sessions::COLUMNS
    )
}

fn take_sessions(known: &mut Known, foresight: &Foresight, rows: &[Row]) -> Result<(), StoreError> {
    known.sessions.extend(foresight.sessions.iter().map(|key| (key.clone(), None)));
    for row in rows {
        let session = sessions::session(row)?;
        known.ends.insert(session.id.clone(), get(row, sessions::COLUMN_COUNT)?);
        known.sessions.insert(session.key.clone(), Some(session));
    }
    Ok(())
}

fn take_owners(known: &mut Known, _: &Foresight, rows: &[Row]) -> Result<(), StoreError> {
    for row in rows {
        let owner = crate::nodes::owner(row, 1)?;
        known.owners.insert(SessionKey::trusted(text(row, 0)?), owner);
    }
    Ok(())
}

fn take_ends(known: &mut Known, _: &Foresight, rows: &[Row]) -> Result<(), StoreError> {
    for row in rows {
        known.ends.insert(SessionId::trusted(text(row, 0)?), get(row, 1)?);
    }
    Ok(())
}

fn take_runs(known: &mut Known, foresight: &Foresight, rows: &[Row]) -> Result<(), StoreError> {
    known.runs.extend(foresight.runs.iter().map(|id| (id.clone(), None)));
    for row in rows {
        let run = KnownRun {
            is_over: get(row, 1)?,
            owner: Fence(count(row, 2)?),
            has_inputs: get(row, 3)?,
            has_calls: get(row, 4)?,
        };
        known.runs.insert(RunId::trusted(text(row, 0)?), Some(run));
    }
    Ok(())
}

fn take_messages(known: &mut Known, foresight: &Foresight, rows: &[Row]) -> Result<(), StoreError> {
    known.free_messages.extend(foresight.messages.iter().cloned());
    for row in rows {
        known.free_messages.remove(&MessageId::trusted(text(row, 0)?));
    }
    Ok(())
}
