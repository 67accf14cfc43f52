//! JSON-RPC 2.0 messages: read without building a tree, ids echoed byte for byte.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A message as it came in.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// Keeps an explicit `null` apart from an absent member.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A well-formed request or notification.
#[derive(Debug)]
pub struct Request<'a> {
    /// Raw JSON; absent for a notification.
    pub id: Option<&'a str>,
    pub method: std::borrow::Cow<'a, str>,
    pub params: Option<&'a RawValue>,
}

/// Why a message is no request: the id to answer with, and the reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed<'a> {
    pub id: &'a str,
    pub reason: &'static str,
}

/// Reads one message that is known to be JSON.
pub fn request(raw: &str) -> Result<Request<'_>, Malformed<'_>> {
    let bad = |reason| Malformed { id: "null", reason };
    if !raw.trim_start().starts_with('{') {
        return Err(bad("a message is an object"));
    }
    let envelope: Envelope<'_> =
        serde_json::from_str(raw).map_err(|_| bad("a message has each of its members once"))?;
    let id = envelope.id.map(RawValue::get);
    if id.is_some_and(|id| !is_legal_id(id)) {
        return Err(bad("id must be a string, a number or null"));
    }
    let bad = |reason| Malformed { id: id.unwrap_or("null"), reason };
    if envelope.jsonrpc.map(RawValue::get) != Some(r#""2.0""#) {
        return Err(bad("jsonrpc must be \"2.0\""));
    }
    let method = envelope.method.ok_or(bad("method is missing"))?;
    let method: std::borrow::Cow<'_, str> = match serde_json::from_str::<&str>(method.get()) {
        Ok(method) => method.into(),
        Err(_) => serde_json::from_str::<String>(method.get()).map_err(|_| bad("method must be a string"))?.into(),
    };
    if method.is_empty() {
        return Err(bad("method must not be empty"));
    }
    Ok(Request { id, method, params: envelope.params })
}

fn is_legal_id(id: &str) -> bool {
    matches!(id.as_bytes().first(), Some(b'"' | b'-' | b'0'..=b'9')) || id == "null"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_echoed_as_written() {
        for id in ["1", "1.50", "-0", "\"a\\u0062\"", "null", "12345678901234567890"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"echo"}}"#);
            assert_eq!(request(&text).map(|request| request.id.map(str::to_owned)).ok().flatten().as_deref(), Some(id));
        }
        let notification = request(r#"{"jsonrpc":"2.0","method":"echo"}"#);
        assert!(notification.is_ok_and(|request| request.id.is_none()));
    }

    #[test]
    fn malformed_messages_tell_why_and_keep_a_legal_id() {
        let cases = [
            ("[1]", "null"),
            (r#"{"jsonrpc":"2.0","id":[1],"method":"x"}"#, "null"),
            (r#"{"jsonrpc":"2.0","id":true,"method":"x"}"#, "null"),
            (r#"{"jsonrpc":"1.0","id":7,"method":"x"}"#, "7"),
            (r#"{"id":"a","method":"x"}"#, "\"a\""),
            (r#"{"jsonrpc":"2.0","id":7}"#, "7"),
            (r#"{"jsonrpc":"2.0","id":7,"method":5}"#, "7"),
            (r#"{"jsonrpc":"2.0","id":7,"method":""}"#, "7"),
        ];
        for (text, id) in cases {
            assert_eq!(request(text).map(|_| ()).map_err(|bad| bad.id.to_owned()), Err(id.to_owned()), "{text}");
        }
    }
}
