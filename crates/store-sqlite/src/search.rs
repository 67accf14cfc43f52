//! Full-text search over what users and assistants said.
//!
//! Only the words are indexed; the text is read from the message itself, and the snippet is cut
//! by us, so that the index stays small and its query syntax stays out of reach of callers.

use model::{Message, NewMessage, Role, SessionKey};
use store::backend::rows::role_condition;
use store::backend::search::{snippet, words_of};
use store::{MessageHit, SearchQuery, StoreError};

use crate::columns::text;
use crate::connection::Database;
use crate::message_rows as messages;

/// Queues the words of the message that was just inserted.
pub fn note(database: &Database, body: &NewMessage) {
    if matches!(body.role, Role::User | Role::Assistant) {
        let row = database.sqlite().last_insert_rowid();
        database.words.queued.borrow_mut().push((row, body.content.text().into_owned()));
    }
}

/// Gives the index what is queued: before the commit, a search, and any removal of messages.
pub fn index(database: &Database) -> Result<(), StoreError> {
    let queued = database.words.queued.borrow();
    for (row, words) in queued.iter().skip(database.words.given.get()) {
        database.execute("INSERT INTO message_words (rowid, words) VALUES (?1, ?2)", (row, words))?;
    }
    database.words.given.set(queued.len());
    Ok(())
}

pub fn search(database: &Database, query: &SearchQuery) -> Result<Vec<MessageHit>, StoreError> {
    index(database)?;
    let words = words_of(&query.text);
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let roles = role_condition(&query.roles);
    let session = if query.session.is_some() { " AND t.session_key = ?3" } else { " AND ?3 IS NULL" };
    let sql = format!(
        "SELECT {}, t.session_key, -bm25(message_words) AS score \
         FROM message_words JOIN messages m ON m.ordinal = message_words.rowid JOIN transcripts t ON t.session_id = m.session_id \
         WHERE message_words MATCH ?1 AND t.agent_id = ?2{session}{roles} ORDER BY score DESC, m.ordinal DESC LIMIT ?4",
        messages::COLUMNS
    );
    let params = (
        expression(&words),
        query.agent.as_str(),
        query.session.as_ref().map(SessionKey::as_str),
        query.limit.clamp(1, 100),
    );
    database.rows(&sql, params, |row| {
        let message: Message = messages::message(row)?;
        let snippet = snippet(&message.body.content.text(), &words);
        Ok(MessageHit { session_key: SessionKey::trusted(text(row, 7)?), message, snippet, score: row.get(8)? })
    })
}

/// Every word as a quoted phrase: inside quotes nothing has a meaning but the quote itself.
fn expression(words: &[String]) -> String {
    let phrases: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
    phrases.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_words_without_any_syntax() {
        assert_eq!(
            expression(&words_of("NEAR(a b) \"c\"* -d OR ^e: \u{0} !!")),
            r#""near(a" "b)" """c""*" "-d" "or" "^e:""#
        );
    }
}
