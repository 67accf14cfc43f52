//! Rows of sessions.

use std::sync::LazyLock;

use model::{Session, SessionId, SessionKey, SessionKind, Timestamp};
use store::backend::numbers::{bound, limit, stored};
use store::{SessionFilter, SessionPage, SessionQueries, SessionWrites, StoreError};
use tokio_postgres::Row;

use crate::columns::{count, get, json, text, time, time_if_any};
use crate::connection::Database;
use crate::rows::{Column, Kind, assigned, given, names};
use crate::values::{self, Value, values};

pub const COLUMNS: &str = "session_key, session_id, created_at, updated_at, message_count, token_count, input_tokens, \
    output_tokens, last_compaction, aborted_last_run, settings";
pub const COLUMN_COUNT: usize = 11;

/// The columns that a session is written with. Its key never changes, nor what follows from it.
const FROM_KEY: [Column; 4] =
    [("session_key", "text"), ("agent_id", "text"), ("channel", "text"), ("ephemeral", "bool")];
const CHANGING: [Column; 13] = [
    ("session_id", "text"),
    ("created_at", "bigint"),
    ("updated_at", "bigint"),
    ("message_count", "bigint"),
    ("token_count", "bigint"),
    ("input_tokens", "bigint"),
    ("output_tokens", "bigint"),
    ("last_compaction", "bigint"),
    ("aborted_last_run", "bool"),
    ("label", "text"),
    ("label_folded", "text"),
    ("spawned_by", "text"),
    ("settings", "text"),
];

static PUT_ALL: LazyLock<String> = LazyLock::new(|| {
    let written = [FROM_KEY.as_slice(), &CHANGING].concat();
    let changed = assigned(&CHANGING, |name, _| format!("EXCLUDED.{name}"));
    format!(
        "INSERT INTO sessions ({}) SELECT * FROM {} ON CONFLICT (session_key) DO UPDATE SET {changed}",
        names(&written),
        given(&written)
    )
});

/// The hour has an index; within it there is little to sort.
const NEWEST_FIRST: &str = "updated_hour DESC, updated_at DESC, session_key";

pub fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        key: SessionKey::trusted(text(row, 0)?),
        id: SessionId::trusted(text(row, 1)?),
        created_at: time(row, 2)?,
        updated_at: time(row, 3)?,
        message_count: count(row, 4)?,
        token_count: count(row, 5)?,
        input_tokens: count(row, 6)?,
        output_tokens: count(row, 7)?,
        last_compaction: time_if_any(row, 8)?,
        aborted_last_run: get(row, 9)?,
        settings: json(row, 10)?,
    })
}

fn key(row: &Row) -> Result<SessionKey, StoreError> {
    text(row, 0).map(SessionKey::trusted)
}

/// `WHERE` for a filter, with the values of its parameters in order.
fn matching(filter: &SessionFilter) -> (String, Vec<Value>) {
    let mut sql = String::from("WHERE NOT ephemeral");
    let mut values = Vec::new();
    let mut condition = |text: &str, value: Value| {
        values.push(value);
        sql.push_str(" AND ");
        sql.push_str(&text.replace('#', &values.len().to_string()));
    };
    if let Some(agent) = &filter.agent {
        condition("agent_id = $#", Value::from(agent.as_str()));
    }
    if let Some(channel) = &filter.channel {
        condition("channel = $#", Value::from(channel));
    }
    if let Some(since) = filter.updated_since {
        condition("updated_at >= $#", Value::from(since.as_ms()));
    }
    // Keys are lower-case already; labels are kept a second time in lower case, because databases
    // disagree on what the lower case of a letter beyond ASCII is.
    if let Some(part) = &filter.key_contains {
        condition("strpos(session_key, $#) > 0", Value::from(part.to_lowercase()));
    }
    if let Some(part) = &filter.search {
        condition("(strpos(session_key, $#) > 0 OR strpos(label_folded, $#) > 0)", Value::from(part.to_lowercase()));
    }
    if let Some(label) = &filter.label {
        condition("label = $#", Value::from(label));
    }
    if let Some(parent) = &filter.spawned_by {
        condition("spawned_by = $#", Value::from(parent.as_str()));
    }
    (sql, values)
}

impl SessionQueries for Database {
    fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        if let Some(known) = self.known.borrow().session(key) {
            return Ok(known.clone());
        }
        self.row(&format!("SELECT {COLUMNS} FROM sessions WHERE session_key = $1"), values![key.as_str()], session)
    }

    fn list(&self, filter: &SessionFilter) -> Result<SessionPage, StoreError> {
        let (condition, mut values) = matching(filter);
        let total = self.number(&format!("SELECT COUNT(*) FROM sessions {condition}"), values.clone())?;
        values.push(Value::from(limit(filter.limit)));
        values.push(Value::from(bound(filter.offset)));
        let (last, offset) = (values.len() - 1, values.len());
        let sql = format!(
            "SELECT {COLUMNS} FROM sessions {condition} ORDER BY {NEWEST_FIRST} LIMIT ${last} OFFSET ${offset}"
        );
        let sessions = self.rows(&sql, values, session)?;
        Ok(SessionPage { sessions, total })
    }

    fn idle_since(&self, before: Timestamp, limit: u32) -> Result<Vec<SessionKey>, StoreError> {
        let sql = "SELECT session_key FROM sessions WHERE NOT ephemeral AND updated_hour <= $1::bigint / 3600000 AND updated_at < $1 \
            ORDER BY updated_hour, updated_at, session_key LIMIT $2";
        self.rows(sql, values![before.as_ms(), limit], key)
    }

    fn ephemeral(&self) -> Result<Vec<SessionKey>, StoreError> {
        let sql = "SELECT session_key FROM sessions WHERE ephemeral ORDER BY updated_at, session_key";
        self.rows(sql, Vec::new(), key)
    }
}

impl SessionWrites for Database {
    fn put(&self, session: &Session) -> Result<(), StoreError> {
        let settings = &session.settings;
        self.known.borrow_mut().put_session(session);
        let row = values![
            session.key.as_str(),
            session.key.agent().as_str(),
            session.key.channel(),
            session.key.kind() == SessionKind::Ephemeral,
            session.id.as_str(),
            session.created_at.as_ms(),
            session.updated_at.as_ms(),
            stored(session.message_count)?,
            stored(session.token_count)?,
            stored(session.input_tokens)?,
            stored(session.output_tokens)?,
            session.last_compaction.map(Timestamp::as_ms),
            session.aborted_last_run,
            settings.label.as_ref(),
            settings.label.as_ref().map(|label| label.to_lowercase()),
            settings.spawned_by.as_ref().map(SessionKey::as_str),
            values::json(settings)?,
        ];
        self.defer_row(Kind::Session, &PUT_ALL, row)
    }

    fn delete(&self, key: &SessionKey) -> Result<Option<u64>, StoreError> {
        let key = || values![key.as_str()];
        let removed = self.row(
            "SELECT (SELECT COUNT(*) FROM messages m WHERE m.session_id = s.session_id) FROM sessions s WHERE s.session_key = $1",
            key(),
            |row| count(row, 0),
        )?;
        self.defer(
            "DELETE FROM messages WHERE session_id IN (SELECT session_id FROM transcripts WHERE session_key = $1)",
            key(),
        )?;
        self.defer("DELETE FROM transcripts WHERE session_key = $1", key())?;
        // Inputs and tool calls go with their run.
        self.defer("DELETE FROM runs WHERE session_key = $1", key())?;
        self.defer("DELETE FROM sessions WHERE session_key = $1", key())?;
        self.known.borrow_mut().forget();
        Ok(removed)
    }
}
