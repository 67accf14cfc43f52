//! Full-text search over what users and assistants said.
//!
//! Only the words are indexed; the text is read from the message itself, and the snippet is cut
//! here, so that the index stays small and its query syntax stays out of reach of callers.

use model::{Message, NewMessage, Role, SessionKey};
use store::{MessageHit, SearchQuery, StoreError};

use crate::columns::text;
use crate::connection::Database;
use crate::message_rows as messages;

/// Words of a query beyond this are not looked at.
const WORDS_MAX: usize = 32;

/// Longest snippet, in characters, without the dots at its ends.
const SNIPPET_CHARS: usize = 158;

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
    let roles = messages::role_condition(&query.roles);
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

/// The words to look for: split at spaces, each with at least one letter or digit.
fn words_of(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let word = word.to_lowercase();
        if word.chars().any(char::is_alphanumeric) && !words.contains(&word) {
            words.push(word);
            if words.len() == WORDS_MAX {
                break;
            }
        }
    }
    words
}

/// Every word as a quoted phrase: inside quotes nothing has a meaning but the quote itself.
fn expression(words: &[String]) -> String {
    let phrases: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
    phrases.join(" ")
}

/// The first word found, with what stands around it.
fn snippet(text: &str, words: &[String]) -> String {
    let chars: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let hit = words.iter().filter_map(|word| position(&chars, word)).min().unwrap_or(0);
    let mut start = hit.saturating_sub(SNIPPET_CHARS / 3);
    let end = (start + SNIPPET_CHARS).min(chars.len());
    start = start.min(end.saturating_sub(SNIPPET_CHARS));
    let mut cut = String::with_capacity(SNIPPET_CHARS * 2);
    if start > 0 {
        cut.push('…');
    }
    cut.push_str(chars[start..end].iter().collect::<String>().trim());
    if end < chars.len() {
        cut.push('…');
    }
    cut
}

/// Where the letters of `word` start, in any case. Letters whose lower case is several are compared by the first.
fn position(chars: &[char], word: &str) -> Option<usize> {
    let lower = |c: &char| c.to_lowercase().next().unwrap_or(*c);
    let word: Vec<char> = word.chars().filter(|c| c.is_alphanumeric()).collect();
    chars.windows(word.len()).position(|window| window.iter().map(lower).eq(word.iter().copied()))
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
        assert_eq!(words_of("a A a"), ["a"]);
        assert_eq!(words_of(" *** \" - "), Vec::<String>::new());
        assert_eq!(words_of(&"x y ".repeat(10)).len(), 2);
        let many: String = (0..1000).map(|n| format!("w{n} ")).collect();
        assert_eq!(words_of(&many).len(), WORDS_MAX);
    }

    #[test]
    fn a_snippet_shows_the_word_in_its_surroundings() {
        let words = words_of("Needle");
        assert_eq!(snippet("a needle here", &words), "a needle here");
        let long = format!("{} NEEDLE {}", "hay ".repeat(200), "straw ".repeat(200));
        let cut = snippet(&long, &words);
        assert!(cut.starts_with('…') && cut.ends_with('…') && cut.contains("NEEDLE"), "{cut}");
        assert!(cut.chars().count() <= 160, "{cut}");
        let end = snippet(&format!("{} needle", "hay ".repeat(200)), &words);
        assert!(end.ends_with("needle") && end.chars().count() > 120, "{end}");
        assert_eq!(snippet("", &words), "");
    }
}
