//! Full-text search over what users and assistants said.
//!
//! Texts are cut into words, folded and numbered here, and the server is given the outcome: so what is
//! found depends on no locale, dictionary or extension of the server, and query syntax stays out of
//! reach of callers.

use model::{Message, NewMessage, Role, SessionKey};
use store::backend::rows::role_condition;
use store::backend::search::{snippet, words_of};
use store::{MessageHit, SearchQuery, StoreError};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::columns::{get, text};
use crate::connection::Database;
use crate::message_rows as messages;
use crate::values::{Value, values};

/// Longer words are not indexed, in bytes; the server takes up to 2046.
const WORD_BYTES_MAX: usize = 512;

/// The words of a message are indexed up to this many bytes; the server takes up to 1 MiB.
const INDEX_BYTES_MAX: usize = 512 * 1024;

/// So many bytes of a message are looked at: the transaction is open meanwhile.
const TEXT_BYTES_MAX: usize = 128 * 1024;

/// The greatest place of a word in its text that the server remembers; those behind it share it.
const PLACE_MAX: usize = 16_383;

/// What is indexed of a message, as the text of a `tsvector`: its words with their places.
pub fn indexed(body: &NewMessage) -> Option<Value> {
    if !matches!(body.role, Role::User | Role::Assistant) {
        return None;
    }
    Some(Value::Text(vector(&body.content.text())))
}

/// The words of a text with their places, as the server takes them for a `tsvector`.
pub fn vector(content: &str) -> String {
    let mut vector = String::new();
    let end = content.floor_char_boundary(TEXT_BYTES_MAX);
    for (position, word) in tokens(&content[..end]).enumerate() {
        if vector.len() + word.len() > INDEX_BYTES_MAX {
            break;
        }
        if word.len() <= WORD_BYTES_MAX {
            // A word is letters and digits only, so that the quotes need no care.
            vector.push_str(&format!("'{word}':{} ", (position + 1).min(PLACE_MAX)));
        }
    }
    vector
}

pub fn search(database: &Database, query: &SearchQuery) -> Result<Vec<MessageHit>, StoreError> {
    let words = words_of(&query.text);
    let expression = expression(&words);
    if expression.is_empty() {
        return Ok(Vec::new());
    }
    let roles = role_condition(&query.roles);
    let mut values = values![expression, query.agent.as_str(), query.limit.clamp(1, 100)];
    let session = query.session.as_ref().map_or("", |key| {
        values.push(Value::from(key.as_str()));
        " AND t.session_key = $4"
    });
    let sql = format!(
        "SELECT {}, t.session_key, ts_rank(m.words, q, 1)::double precision AS score \
         FROM CAST($1::text AS tsquery) q, messages m JOIN transcripts t ON t.session_id = m.session_id \
         WHERE m.words @@ q AND t.agent_id = $2{session}{roles} ORDER BY score DESC, m.ordinal DESC LIMIT $3",
        messages::COLUMNS
    );
    database.rows(&sql, values, |row| {
        let message: Message = messages::message(row)?;
        let snippet = snippet(&message.body.content.text(), &words);
        Ok(MessageHit { session_key: SessionKey::trusted(text(row, 7)?), message, snippet, score: get(row, 8)? })
    })
}

/// All words must occur; the parts of one, as of `e-mail`, in a row. Empty when there is nothing to look for.
fn expression(words: &[String]) -> String {
    let phrases = words.iter().filter_map(|word| {
        let parts: Vec<String> = tokens(word)
            .take(WORD_BYTES_MAX)
            .map(|part| if part.len() <= WORD_BYTES_MAX { format!("'{part}'") } else { String::new() })
            .collect();
        // A part that is too long to be indexed is in no message that could be found.
        (!parts.is_empty()).then_some(parts)
    });
    let phrases: Vec<Vec<String>> = phrases.collect();
    if phrases.iter().flatten().any(String::is_empty) {
        return String::new();
    }
    phrases.iter().map(|parts| format!("({})", parts.join(" <-> "))).collect::<Vec<_>>().join(" & ")
}

/// The words of a text in lower case and without accents: runs of letters and digits.
fn tokens(text: &str) -> impl Iterator<Item = String> {
    let is_part = |c: char| c.is_alphanumeric() || is_combining_mark(c);
    // One that is far too long is not folded first; it would be left out afterwards.
    let words = text.split(move |c| !is_part(c)).map(|word| &word[..word.floor_char_boundary(WORD_BYTES_MAX * 4)]);
    words.filter_map(|word| {
        let folded: String = word.nfd().flat_map(char::to_lowercase).filter(|c| !is_accent(*c)).nfc().collect();
        folded.contains(char::is_alphanumeric).then_some(folded)
    })
}

/// Marks above and below letters. Those that are vowels, as in Devanagari, or make another letter, as in
/// Kana, are none.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> String {
        tokens(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_folded_and_cut_at_everything_else() {
        assert_eq!(cut("The e-mail, of ann@example.com!"), "the e mail of ann example com");
        assert_eq!(cut("Größe café cafe\u{301} ПРИВЕТ İ 日本"), "große cafe cafe привет i 日本");
        assert_eq!(cut(" \0 -- '' \\ "), "");
        assert_eq!(cut("v2.0 x_y"), "v2 0 x y");
        assert_eq!(cut("\u{301} हिन्दी がぎ"), "हिन्दी がぎ", "vowels and letters are no accents");
    }

    #[test]
    fn queries_are_words_without_any_syntax() {
        let expression = |text: &str| expression(&words_of(text));
        assert_eq!(expression("NEAR(a b) | !c:* <-> e-mail"), "('near' <-> 'a') & ('b') & ('c') & ('e' <-> 'mail')");
        assert_eq!(expression("it's"), "('it' <-> 's')");
        assert_eq!(expression("** ''"), "");
        assert_eq!(expression(&format!("short {}", "x".repeat(5000))), "", "too long to be in the index");
    }

    #[test]
    fn what_is_indexed_has_an_end() {
        let vector = |text: String| match indexed(&NewMessage::user(text)) {
            Some(Value::Text(vector)) => vector,
            other => panic!("{other:?}"),
        };
        assert_eq!(vector(String::from("Red, red fox")), "'red':1 'red':2 'fox':3 ");
        assert_eq!(vector("x".repeat(1 << 20)), "");
        let long = vector("word ".repeat(1 << 20));
        assert!(long.len() <= INDEX_BYTES_MAX + 64 && long.ends_with(&format!(":{PLACE_MAX} ")), "{}", long.len());
        assert!(indexed(&NewMessage::system("rules")).is_none());
    }
}
