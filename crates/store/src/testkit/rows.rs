//! Rows to write and to compare.

use model::{
    AgentId, Content, Cursor, Event, Fence, Message, MessageId, NewMessage, Run, RunId, Session, SessionId, SessionKey,
    SessionSettings, Timestamp,
};

use crate::{StoreError, Tx};

/// Texts that break careless encodings.
pub const ODD_TEXTS: [&str; 9] = [
    "",
    " ",
    "it's \"quoted\"; DROP TABLE runs; --",
    "日本語 🦀 e\u{301} \u{202e}backwards\u{202c} ﷽",
    "nul \0 inside, and at the end \0",
    "line\nline\r\nline\ttab \u{1b}[31m",
    r#"{"json": ["text", null, 1.5]}"#,
    "100% _under_ \\back\\ ?1 $1 :name @name",
    "\u{feff}\u{fffd}\u{10ffff}",
];

/// One mebibyte of text.
pub fn big_text() -> String {
    "0123456789abcdef".repeat(65_536)
}

/// All odd texts in one.
pub fn odd_text() -> String {
    ODD_TEXTS.join("|")
}

pub const fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

pub fn key(text: &str) -> SessionKey {
    SessionKey::parse(text).expect("the suite writes legal keys")
}

pub fn agent(text: &str) -> AgentId {
    AgentId::parse(text).expect("the suite writes legal agents")
}

/// A plain session whose transcript is `ses_<key>`.
pub fn session(text: &str, updated_ms: i64) -> Session {
    Session {
        key: key(text),
        id: SessionId::trusted(format!("ses_{text}")),
        created_at: at(1),
        updated_at: at(updated_ms),
        message_count: 0,
        token_count: 0,
        input_tokens: 0,
        output_tokens: 0,
        last_compaction: None,
        aborted_last_run: false,
        settings: SessionSettings::default(),
    }
}

/// A plain pending run of the session's present transcript.
pub fn run(id: &str, session_key: &str) -> Run {
    let (key, message_id) = (key(session_key), MessageId::trusted(format!("msg_of_{id}")));
    Run {
        session_id: SessionId::trusted(format!("ses_{key}")),
        started_by: String::from("operator"),
        origin: String::from("aleph"),
        ..Run::pending(RunId::trusted(id), key, message_id, at(10), Fence(0))
    }
}

/// An event that carries a number.
pub fn event(number: u64) -> Event {
    Event::ConfigChanged { changed_keys: vec![number.to_string()], source: String::from("suite") }
}

/// The cursors `from..=to`.
pub fn cursors(from: u64, to: u64) -> Vec<Cursor> {
    (from..=to).map(Cursor).collect()
}

/// Appends to the present transcript of the session; the time is the `seq` the message should get.
pub fn say(tx: &dyn Tx, session: &Session, id: &str, body: &NewMessage) -> Result<i64, StoreError> {
    let place = (&session.key, &session.id);
    let next = i64::try_from(tx.messages().count(&session.id)?).unwrap_or(i64::MAX) + 1;
    tx.messages_mut().append(place, &MessageId::trusted(id), None, at(next), body)
}

/// The texts of messages, in their order.
pub fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.body.content.text().into_owned()).collect()
}

/// The places of messages, in their order.
pub fn seqs(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(|message| message.seq).collect()
}

pub fn text(text: impl Into<String>) -> Content {
    Content::from(text.into())
}
