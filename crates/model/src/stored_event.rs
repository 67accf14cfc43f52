//! An event as the log keeps it: one JSON object that begins with its kind,
//! `{"kind":"run_started",…}`.
//!
//! Between that and `{"run_started":{…}}`, which derived code reads in one pass, lies only the place of
//! the kind; so the text is cut there instead of being taken apart. Whoever resumes reads a hundred
//! thousand of them.

use serde_json::{Map, Value};

use crate::event::Event;

const BEGINNING: &str = "{\"kind\":\"";

impl Event {
    /// The text that is kept.
    pub fn to_stored(&self) -> Result<String, serde_json::Error> {
        let nested = serde_json::to_string(self)?;
        let cut = nested.strip_prefix("{\"").and_then(|rest| rest.split_once("\":{"));
        let Some((kind, fields)) = cut.and_then(|(kind, rest)| Some((kind, rest.strip_suffix("}}")?))) else {
            return Err(serde::ser::Error::custom("an event that is kept has named fields"));
        };
        let comma = if fields.is_empty() { "" } else { "," };
        Ok(format!("{BEGINNING}{kind}\"{comma}{fields}}}"))
    }

    /// What was kept. Fields that this version does not know are passed over.
    pub fn from_stored(text: &str) -> Result<Self, serde_json::Error> {
        let cut = text.strip_prefix(BEGINNING).and_then(|rest| rest.split_once('"'));
        let Some((kind, rest)) =
            cut.filter(|(kind, _)| kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        else {
            return from_object(text);
        };
        let fields = rest.strip_prefix(',').unwrap_or(rest);
        let mut nested = String::with_capacity(text.len() + 8);
        for piece in ["{\"", kind, "\":{", fields, "}"] {
            nested.push_str(piece);
        }
        serde_json::from_str(&nested).or_else(|_| from_object(text))
    }
}

/// The text has another layout: somebody else wrote it.
fn from_object(text: &str) -> Result<Event, serde_json::Error> {
    let mut fields: Map<String, Value> = serde_json::from_str(text)?;
    let Some(Value::String(kind)) = fields.remove("kind") else {
        return Err(serde::de::Error::missing_field("kind"));
    };
    serde_json::from_value(Value::Object(Map::from_iter([(kind, Value::Object(fields))])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SessionId, TokenId};
    use crate::{AgentId, SessionKey};

    fn reset() -> Event {
        Event::SessionReset {
            session_key: SessionKey::main(&AgentId::main()),
            session_id: SessionId::trusted("ses_1"),
            reason: String::from("it said \"new\":{}}"),
        }
    }

    #[test]
    fn an_event_comes_back_from_its_stored_form() {
        let text = reset().to_stored().unwrap();
        assert_eq!(
            text,
            r#"{"kind":"session_reset","session_key":"agent:main:main","session_id":"ses_1","reason":"it said \"new\":{}}"}"#
        );
        assert_eq!(Event::from_stored(&text).unwrap(), reset());
        let event = Event::TokenCreated { token_id: TokenId::trusted("tok_1") };
        assert_eq!(Event::from_stored(&event.to_stored().unwrap()).unwrap(), event);
    }

    #[test]
    fn spaces_other_orders_and_unknown_fields_are_read_too() {
        let text = r#" { "session_key": "agent:main:main", "session_id": "ses_1", "reason": "it said \"new\":{}}", "kind": "session_reset", "later": [] }"#;
        assert_eq!(Event::from_stored(text).unwrap(), reset());
        assert_eq!(
            Event::from_stored(r#"{"kind":"token_created","token_id":"tok_1","later":{"a":[]}}"#).unwrap(),
            Event::TokenCreated { token_id: TokenId::trusted("tok_1") }
        );
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            "{\"kind\":\"\"}",
            "{\"kind\":\"no_such\"}",
            "{\"kind\":\"session_reset\"}",
            "{\"kind\":\"session_reset\"",
            "{\"kind\":1}",
            "{\"kind\":\"token_created\",\"token_id\":\"tok_1\"}}",
        ] {
            assert!(Event::from_stored(text).is_err(), "{text}");
        }
    }
}
