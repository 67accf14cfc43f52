//! Rows of transcripts.

use std::sync::LazyLock;

use model::{Content, Message, MessageId, NewMessage, RunId, SessionId, SessionKey, Timestamp};
use store::backend::numbers::{bound, limit, stored};
use store::backend::rows::{Extra, role_condition};
use store::{MessageHit, MessagePage, MessageQueries, MessageWrites, SearchQuery, Seen, StoreError};

use tokio_postgres::Row;

use crate::columns::{self, count, get, text_if_any};
use crate::connection::Database;
use crate::message_rows::{COLUMNS, message};
use crate::rows::{Column, Kind, given, names};
use crate::search;
use crate::values::{Value, json, values};

/// How transcripts `$1` begin, each up to its place in `$2`: a row for each, in their order, which
/// [`begins_as`] reads.
pub const BEGINNINGS: &str = "SELECT (SELECT COUNT(*) FROM messages WHERE session_id = k AND seq <= s), \
    (SELECT message_id FROM messages WHERE session_id = k AND seq = s), \
    (SELECT message_id FROM messages WHERE session_id = k ORDER BY seq LIMIT 1) \
    FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY u (k, s, place) ORDER BY place";

/// What transcripts `$1` have behind their places in `$2`, in order. Behind the message stands which of them
/// it belongs to, counted from 1.
pub static BEHIND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS}, place FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY u (k, s, place) \
         JOIN messages m ON m.session_id = k AND m.seq > s ORDER BY place, m.seq"
    )
});

/// Whether a transcript begins as it was seen: a row of the number of messages up to the last one seen, that
/// one's id, and the id of the first.
pub fn begins_as(seen: &Seen, row: &Row) -> Result<bool, StoreError> {
    let (last, first) = (text_if_any(row, 1)?, text_if_any(row, 2)?);
    Ok(count(row, 0)? == seen.count
        && last.as_deref() == Some(seen.last.as_str())
        && first.as_deref() == Some(seen.first.as_str()))
}

impl MessageQueries for Database {
    fn get(&self, id: &MessageId) -> Result<Option<Message>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM messages m WHERE m.message_id = $1"), values![id.as_str()], message)
    }

    fn page(&self, session: &SessionId, page: &MessagePage) -> Result<Vec<Message>, StoreError> {
        let mut condition = role_condition(&page.roles);
        let mut values = values![session.as_str(), limit(page.limit), bound(page.skip_newest)];
        if let Some(before) = page.before {
            values.push(Value::from(before.as_ms()));
            condition.push_str(" AND m.created_at < $4");
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM messages m WHERE m.session_id = $1{condition} ORDER BY m.seq DESC LIMIT $2 OFFSET $3"
        );
        let mut messages = self.rows(&sql, values, message)?;
        messages.reverse();
        Ok(messages)
    }

    fn behind(&self, session: &SessionId, seen: &Seen) -> Result<Option<Vec<Message>>, StoreError> {
        if let Some(known) = self.known.borrow().behind(session, seen) {
            return Ok(known.clone());
        }
        let both = values![[session.as_str()].as_slice(), Value::Ints(vec![seen.last_seq])];
        // Nearly always the beginning stands, so that both are asked at once.
        let answers = self.ask_all(vec![(BEGINNINGS.to_owned(), both.clone()), (BEHIND.clone(), both)])?;
        let [(beginning, _), (messages, _)] = answers.as_slice() else { return Ok(None) };
        let Some(row) = beginning.first() else { return Ok(None) };
        let is_same = begins_as(seen, row)?;
        if is_same { messages.iter().map(message).collect::<Result<_, _>>().map(Some) } else { Ok(None) }
    }

    fn count(&self, session: &SessionId) -> Result<u64, StoreError> {
        self.number("SELECT COUNT(*) FROM messages WHERE session_id = $1", values![session.as_str()])
    }

    fn of_run(&self, run: &RunId) -> Result<Vec<Message>, StoreError> {
        // Two indexes are asked, which one condition with OR would not do.
        let sql = format!(
            "SELECT {COLUMNS} FROM messages m WHERE m.run_id = $1 \
             UNION SELECT {COLUMNS} FROM messages m \
             WHERE m.message_id = (SELECT r.message_id FROM runs r WHERE r.run_id = $1) ORDER BY seq"
        );
        self.rows(&sql, values![run.as_str()], message)
    }

    fn first_user_text(&self, session: &SessionId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT content FROM messages WHERE session_id = $1 AND role = 'user' ORDER BY seq LIMIT 1";
        self.row(sql, values![session.as_str()], |row| Ok(columns::json::<Content>(row, 0)?.text().into_owned()))
    }

    fn search(&self, query: &SearchQuery) -> Result<Vec<MessageHit>, StoreError> {
        search::search(self, query)
    }
}

/// The end of the transcript `$2`.
const NEXT_SEQ: &str = "COALESCE((SELECT MAX(seq) FROM messages WHERE session_id = $2), 0) + 1";

const UNLESS_NOTED: &str = "ON CONFLICT (session_id) DO NOTHING";

/// The columns of [`message_values`], and the place.
const WRITTEN: [Column; 10] = [
    ("message_id", "text"),
    ("session_id", "text"),
    ("run_id", "text"),
    ("role", "text"),
    ("created_at", "bigint"),
    ("tokens", "bigint"),
    ("content", "text"),
    ("extra", "text"),
    ("words", "text"),
    ("seq", "bigint"),
];

/// Messages whose ids and places are free. Should one not be, the statement fails and takes the transaction with it.
static APPEND_ALL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO messages ({}) SELECT message_id, session_id, run_id, role, created_at, tokens, content, extra, \
         CAST(words AS tsvector), seq FROM {}",
        names(&WRITTEN),
        given(&WRITTEN)
    )
});

const NOTED: [Column; 3] = [("session_id", "text"), ("session_key", "text"), ("agent_id", "text")];

static NOTE_ALL: LazyLock<String> = LazyLock::new(|| {
    format!("INSERT INTO transcripts ({}) SELECT * FROM {} {UNLESS_NOTED}", names(&NOTED), given(&NOTED))
});

/// The first nine parameters of a statement that writes a message.
fn message_values(
    session: &SessionId,
    id: &MessageId,
    run: Option<&RunId>,
    at: Timestamp,
    body: &NewMessage,
) -> Result<Vec<Value>, StoreError> {
    Ok(values![
        id.as_str(),
        session.as_str(),
        run.map(RunId::as_str),
        body.role.as_str(),
        at.as_ms(),
        stored(body.token_estimate())?,
        json(&body.content)?,
        Extra::of(body).map(|extra| json(&extra)).transpose()?,
        search::indexed(body),
    ])
}

impl Database {
    /// Puts a message at `place`, or at the end; gives where it stands.
    fn insert_message(
        &self,
        (key, session): (&SessionKey, &SessionId),
        place: Option<i64>,
        id: &MessageId,
        run: Option<&RunId>,
        at: Timestamp,
        body: &NewMessage,
    ) -> Result<i64, StoreError> {
        let known = place.is_none().then(|| self.known.borrow().place_of(id, session)).flatten();
        if let Some(free) = known {
            return self.append_at((key, session), free, id, run, at, body);
        }
        // A transcript begins with message 1, or with a summary that took the place of others. What no run
        // wrote may be either, so it is noted on the way.
        let note = if run.is_none() {
            format!("WITH noted AS (INSERT INTO transcripts ({}) VALUES ($2, $10, $11) {UNLESS_NOTED}) ", names(&NOTED))
        } else {
            String::new()
        };
        let parameters_before = if run.is_none() { 11 } else { 9 };
        let seq = place.map_or_else(|| NEXT_SEQ.to_owned(), |_| format!("${}", parameters_before + 1));
        let sql = format!(
            "{note}INSERT INTO messages ({}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CAST($9::text AS tsvector), {seq}) \
             ON CONFLICT DO NOTHING RETURNING seq",
            names(&WRITTEN)
        );
        let mut values = message_values(session, id, run, at, body)?;
        if run.is_none() {
            values.extend(values![key.as_str(), key.agent().as_str()]);
        }
        values.extend(place.map(Value::from));
        let given: Option<i64> = self.row(&sql, values, |row| get(row, 0))?;
        let given = given
            .ok_or_else(|| StoreError::Conflict(format!("the id `{id}` or its place in the transcript is taken")))?;
        if given == 1 && run.is_some() {
            self.note_transcript(key, session)?;
        }
        self.known.borrow_mut().append(id, session, given);
        Ok(given)
    }

    /// Puts a message where nothing is. Its id and its place are known to be free.
    fn append_at(
        &self,
        (key, session): (&SessionKey, &SessionId),
        place: i64,
        id: &MessageId,
        run: Option<&RunId>,
        at: Timestamp,
        body: &NewMessage,
    ) -> Result<i64, StoreError> {
        let mut row = message_values(session, id, run, at, body)?;
        row.push(Value::from(place));
        self.defer_row(Kind::Message, &APPEND_ALL, row)?;
        if place == 1 {
            self.note_transcript(key, session)?;
        }
        self.known.borrow_mut().append(id, session, place);
        Ok(place)
    }

    fn note_transcript(&self, key: &SessionKey, session: &SessionId) -> Result<(), StoreError> {
        self.defer_row(Kind::Transcript, &NOTE_ALL, values![session.as_str(), key.as_str(), key.agent().as_str()])
    }
}

impl MessageWrites for Database {
    fn append(
        &self,
        session: (&SessionKey, &SessionId),
        id: &MessageId,
        run: Option<&RunId>,
        at: Timestamp,
        body: &NewMessage,
    ) -> Result<i64, StoreError> {
        self.insert_message(session, None, id, run, at, body)
    }

    fn transfer(&self, id: &MessageId, to: (&SessionKey, &SessionId)) -> Result<Option<i64>, StoreError> {
        let sql = format!("UPDATE messages SET session_id = $2, seq = {NEXT_SEQ} WHERE message_id = $1 RETURNING seq");
        self.known.borrow_mut().forget_ends();
        let seq = self.row(&sql, values![id.as_str(), to.1.as_str()], |row| get(row, 0))?;
        if seq.is_some() {
            self.note_transcript(to.0, to.1)?;
        }
        Ok(seq)
    }

    fn replace_head(
        &self,
        session: (&SessionKey, &SessionId),
        up_to: i64,
        id: &MessageId,
        at: Timestamp,
        summary: &NewMessage,
    ) -> Result<u64, StoreError> {
        let replaced = self.remove_head(session.1, up_to)?;
        self.insert_message(session, Some(up_to), id, None, at, summary)?;
        Ok(replaced)
    }

    fn remove_head(&self, session: &SessionId, up_to: i64) -> Result<u64, StoreError> {
        self.known.borrow_mut().forget_ends();
        let sql = "DELETE FROM messages WHERE session_id = $1 AND seq <= $2";
        self.execute(sql, values![session.as_str(), up_to])
    }

    fn clear(&self, session: &SessionId, keep_system: bool) -> Result<u64, StoreError> {
        self.known.borrow_mut().forget_ends();
        let sql = if keep_system {
            "DELETE FROM messages WHERE session_id = $1 AND role <> 'system'"
        } else {
            "DELETE FROM messages WHERE session_id = $1"
        };
        self.execute(sql, values![session.as_str()])
    }

    fn token_sum(&self, session: &SessionId) -> Result<u64, StoreError> {
        let sql = "SELECT COALESCE(SUM(tokens), 0)::bigint FROM messages WHERE session_id = $1";
        self.number(sql, values![session.as_str()])
    }
}
