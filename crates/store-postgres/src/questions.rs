//! What a batch asks once for all of its units.

use model::{Fence, MessageId, RunId, SessionId, SessionKey};
use store::{Conversation, Foresight, StoreError};
use tokio_postgres::Row;

use crate::columns::{count, get, text};
use crate::connection::{Answer, Database};
use crate::known::{Known, KnownRun};
use crate::message_rows::{self, message};
use crate::values::{Value, values};
use crate::{messages, runs, sessions};

const OWNERS: &str = "SELECT k, COALESCE(\
    (SELECT owner FROM runs WHERE session_key = k AND NOT is_over ORDER BY ordinal DESC LIMIT 1), \
    (SELECT owner FROM session_holds JOIN nodes ON fence = owner WHERE session_key = k)) FROM unnest($1::text[]) k";

const RUNS: &str = "SELECT run_id, is_over, owner, EXISTS (SELECT 1 FROM run_inputs i WHERE i.run_id = r.run_id), \
    EXISTS (SELECT 1 FROM tool_calls c WHERE c.run_id = r.run_id), session_key FROM runs r WHERE run_id = ANY($1)";

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
        if !foresight.conversations.is_empty() {
            let conversations = foresight.conversations.iter();
            let transcripts: Vec<&str> = conversations.clone().map(|one| one.transcript.as_str()).collect();
            let places = Value::Ints(conversations.clone().map(|one| one.seen.last_seq).collect());
            let both = vec![Value::from(transcripts.as_slice()), places];
            let keys: Vec<&str> = conversations.map(|one| one.session.as_str()).collect();
            // Whether it begins as it was seen is known before what is behind that.
            asked.push((messages::BEGINNINGS.to_owned(), both.clone(), take_beginnings));
            asked.push((messages::BEHIND.clone(), both, take_behind));
            asked.push((runs::UNFINISHED.clone(), values![keys.as_slice()], take_unfinished));
        }
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

fn take_beginnings(known: &mut Known, foresight: &Foresight, rows: &[Row]) -> Result<(), StoreError> {
    for (Conversation { transcript, seen, .. }, row) in foresight.conversations.iter().zip(rows) {
        let behind = messages::begins_as(seen, row)?.then(Vec::new);
        known.behind.insert(transcript.clone(), (seen.clone(), behind));
    }
    Ok(())
}

fn take_behind(known: &mut Known, foresight: &Foresight, rows: &[Row]) -> Result<(), StoreError> {
    for row in rows {
        let place: i64 = get(row, message_rows::COLUMN_COUNT)?;
        let place = usize::try_from(place - 1).unwrap_or(usize::MAX);
        let Some(Conversation { transcript, .. }) = foresight.conversations.get(place) else { continue };
        // Of several that were said for one transcript the last one is known.
        let is_last = foresight.conversations[place + 1..].iter().all(|other| other.transcript != *transcript);
        if let Some((_, Some(behind))) = known.behind.get_mut(transcript).filter(|_| is_last) {
            behind.push(message(row)?);
        }
    }
    Ok(())
}

fn take_unfinished(known: &mut Known, foresight: &Foresight, rows: &[Row]) -> Result<(), StoreError> {
    known.unfinished.extend(foresight.conversations.iter().map(|one| (one.session.clone(), Vec::new())));
    for row in rows {
        let run = runs::run(row)?;
        known.unfinished.entry(run.session_key.clone()).or_default().push(run);
    }
    Ok(())
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
            session: SessionKey::trusted(text(row, 5)?),
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
