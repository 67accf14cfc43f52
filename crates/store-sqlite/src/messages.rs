//! Rows of transcripts.

use model::{Content, Message, MessageId, NewMessage, RunId, SessionId, SessionKey, Timestamp};
use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};
use store::backend::numbers::{bound, limit, stored};
use store::backend::rows::{Extra, role_condition};
use store::{MessageHit, MessagePage, MessageQueries, MessageWrites, SearchQuery, Seen, StoreError};

use crate::columns::{Json, count};
use crate::connection::Database;
use crate::message_rows::{COLUMNS, message};
use crate::search;

impl MessageQueries for Database {
    fn get(&self, id: &MessageId) -> Result<Option<Message>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM messages m WHERE m.message_id = ?1"), [id.as_str()], message)
    }

    fn page(&self, session: &SessionId, page: &MessagePage) -> Result<Vec<Message>, StoreError> {
        let mut condition = role_condition(&page.roles);
        let mut values = vec![
            Value::Text(session.to_string()),
            Value::Integer(limit(page.limit)),
            Value::Integer(bound(page.skip_newest)),
        ];
        if let Some(before) = page.before {
            values.push(Value::Integer(before.as_ms()));
            condition.push_str(" AND m.created_at < ?4");
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM messages m WHERE m.session_id = ?1{condition} ORDER BY m.seq DESC LIMIT ?2 OFFSET ?3"
        );
        let mut messages = self.rows(&sql, params_from_iter(&values), message)?;
        messages.reverse();
        Ok(messages)
    }

    fn behind(&self, session: &SessionId, seen: &Seen) -> Result<Option<Vec<Message>>, StoreError> {
        let sql = "SELECT COUNT(*), (SELECT message_id FROM messages WHERE session_id = ?1 AND seq = ?2), \
            (SELECT message_id FROM messages WHERE session_id = ?1 ORDER BY seq LIMIT 1) \
            FROM messages WHERE session_id = ?1 AND seq <= ?2";
        let is_same = self.row(sql, (session.as_str(), seen.last_seq), |row| {
            let (last, first): (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
            Ok(count(row, 0)? == seen.count
                && last.as_deref() == Some(seen.last.as_str())
                && first.as_deref() == Some(seen.first.as_str()))
        })?;
        if is_same != Some(true) {
            return Ok(None);
        }
        let sql = format!("SELECT {COLUMNS} FROM messages m WHERE m.session_id = ?1 AND m.seq > ?2 ORDER BY m.seq");
        self.rows(&sql, (session.as_str(), seen.last_seq), message).map(Some)
    }

    fn count(&self, session: &SessionId) -> Result<u64, StoreError> {
        self.number("SELECT COUNT(*) FROM messages WHERE session_id = ?1", [session.as_str()])
    }

    fn of_run(&self, run: &RunId) -> Result<Vec<Message>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM messages m \
             WHERE m.run_id = ?1 OR m.message_id = (SELECT r.message_id FROM runs r WHERE r.run_id = ?1) ORDER BY m.seq"
        );
        self.rows(&sql, [run.as_str()], message)
    }

    fn first_user_text(&self, session: &SessionId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT content FROM messages WHERE session_id = ?1 AND role = 'user' ORDER BY seq LIMIT 1";
        self.row(sql, [session.as_str()], |row| Ok(row.get::<_, Json<Content>>(0)?.0.text().into_owned()))
    }

    fn search(&self, query: &SearchQuery) -> Result<Vec<MessageHit>, StoreError> {
        search::search(self, query)
    }
}

impl Database {
    fn insert_message(
        &self,
        (key, session): (&SessionKey, &SessionId),
        seq: i64,
        id: &MessageId,
        run: Option<&RunId>,
        at: Timestamp,
        body: &NewMessage,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO messages (message_id, session_id, seq, run_id, role, created_at, tokens, content, extra) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        self.execute(
            sql,
            params![
                id.as_str(),
                session.as_str(),
                seq,
                run.map(RunId::as_str),
                body.role.as_str(),
                at.as_ms(),
                stored(body.token_estimate())?,
                Json(&body.content),
                Extra::of(body).map(Json),
            ],
        )?;
        // First, because it goes by the row inserted last.
        search::note(self, body);
        if seq == 1 || run.is_none() {
            self.note_transcript(key, session)?;
        }
        Ok(())
    }

    fn next_seq(&self, session: &SessionId) -> Result<i64, StoreError> {
        let sql = "SELECT MAX(seq) FROM messages WHERE session_id = ?1";
        let last = self.row(sql, [session.as_str()], |row| row.get::<_, Option<i64>>(0))?;
        Ok(last.flatten().unwrap_or(0) + 1)
    }

    /// A transcript begins with message 1, or with a summary that took the place of others.
    fn note_transcript(&self, key: &SessionKey, session: &SessionId) -> Result<(), StoreError> {
        let sql = "INSERT INTO transcripts (session_id, session_key, agent_id) VALUES (?1, ?2, ?3) ON CONFLICT (session_id) DO NOTHING";
        self.execute(sql, (session.as_str(), key.as_str(), key.agent().as_str())).map(drop)
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
        let seq = self.next_seq(session.1)?;
        self.insert_message(session, seq, id, run, at, body)?;
        Ok(seq)
    }

    fn transfer(&self, id: &MessageId, to: (&SessionKey, &SessionId)) -> Result<Option<i64>, StoreError> {
        let seq = self.next_seq(to.1)?;
        let sql = "UPDATE messages SET session_id = ?2, seq = ?3 WHERE message_id = ?1";
        if self.execute(sql, (id.as_str(), to.1.as_str(), seq))? == 0 {
            return Ok(None);
        }
        self.note_transcript(to.0, to.1)?;
        Ok(Some(seq))
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
        self.insert_message(session, up_to, id, None, at, summary)?;
        Ok(replaced)
    }

    fn remove_head(&self, session: &SessionId, up_to: i64) -> Result<u64, StoreError> {
        search::index(self)?;
        self.execute("DELETE FROM messages WHERE session_id = ?1 AND seq <= ?2", (session.as_str(), up_to))
    }

    fn clear(&self, session: &SessionId, keep_system: bool) -> Result<u64, StoreError> {
        search::index(self)?;
        let sql = if keep_system {
            "DELETE FROM messages WHERE session_id = ?1 AND role <> 'system'"
        } else {
            "DELETE FROM messages WHERE session_id = ?1"
        };
        self.execute(sql, [session.as_str()])
    }

    fn token_sum(&self, session: &SessionId) -> Result<u64, StoreError> {
        self.number("SELECT COALESCE(SUM(tokens), 0) FROM messages WHERE session_id = ?1", [session.as_str()])
    }
}
