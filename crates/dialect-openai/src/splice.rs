//! Changing a few values of a JSON text without building a tree of it.
//!
//! [`Envelope`] finds where the values of a request stand, [`Answered`] those of an answer. Both read
//! the text once, copy nothing, and leave everything that they do not know as it is.

use std::fmt;
use std::ops::Range;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The values of a chat completion's request that decide where it goes and how it is answered.
#[derive(Debug, Default)]
pub(crate) struct Envelope<'a> {
    pub model: Option<&'a RawValue>,
    pub messages: Option<&'a RawValue>,
    pub stream: Option<&'a RawValue>,
    pub stream_options: Option<&'a RawValue>,
    pub n: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Model,
    Messages,
    Stream,
    StreamOptions,
    N,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    /// By hand, because a derived struct also reads arrays.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(key) = map.next_key::<Key>()? {
                    let place = match key {
                        Key::Model => &mut envelope.model,
                        Key::Messages => &mut envelope.messages,
                        Key::Stream => &mut envelope.stream,
                        Key::StreamOptions => &mut envelope.stream_options,
                        Key::N => &mut envelope.n,
                        Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    // Of two values one would be changed and the other one read.
                    if place.replace(map.next_value()?).is_some() {
                        return Err(A::Error::custom("a field stands twice"));
                    }
                }
                Ok(envelope)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl<'a> Envelope<'a> {
    /// `None` when the body is no JSON object, or names a field twice.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The model, when it is a string.
    pub fn model(&self) -> Option<String> {
        serde_json::from_str(self.model?.get()).ok()
    }

    /// `None` when it is neither there nor `null`.
    pub fn streams(&self) -> Option<bool> {
        match self.stream.map_or("null", RawValue::get) {
            "true" => Some(true),
            "false" | "null" => Some(false),
            _ => None,
        }
    }

    /// How many answers are asked for, as far as it can be read.
    pub fn choices(&self) -> u32 {
        self.n.and_then(|n| n.get().parse().ok()).unwrap_or(1)
    }

    pub fn usage(&self) -> UsageWish {
        let Some(options) = self.stream_options.filter(|options| options.get() != "null") else {
            return UsageWish::Unsaid;
        };
        #[derive(Deserialize)]
        struct Options {
            include_usage: Option<bool>,
        }
        match serde_json::from_str::<Options>(options.get()) {
            Ok(Options { include_usage: Some(true) }) => UsageWish::Wanted,
            Ok(Options { include_usage: Some(false) }) => UsageWish::Unwanted,
            Ok(Options { include_usage: None }) if options.get().starts_with('{') => UsageWish::Unsaid,
            // What else it may be is for the upstream to judge.
            Ok(_) | Err(_) => UsageWish::Unwanted,
        }
    }
}

/// Whether a stream shall end with a chunk of usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsageWish {
    /// The client did not say; then it gets it.
    Unsaid,
    Wanted,
    Unwanted,
}

/// Where the model's name stands in an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Answered<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub model: Option<&'a RawValue>,
}

/// A value that is there, `null` too.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Where `part`, a piece of `whole`, stands in it.
pub(crate) fn span(whole: &[u8], part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.get().len()
}

/// The body for the upstream: its own name for the model, and a wish for usage when the stream's
/// client has not said otherwise. `None` without a model.
pub(crate) fn upstream_body(body: &[u8], envelope: &Envelope<'_>, model: &str) -> Option<Vec<u8>> {
    let mut edits = vec![(span(body, envelope.model?), quoted(model))];
    if envelope.streams() == Some(true) && envelope.usage() == UsageWish::Unsaid {
        match envelope.stream_options {
            None => edits[0].1.extend_from_slice(br#","stream_options":{"include_usage":true}"#),
            Some(options) if options.get() == "null" => {
                edits.push((span(body, options), br#"{"include_usage":true}"#.to_vec()));
            }
            Some(options) => {
                let place = span(body, options).start + 1;
                let is_empty = options.get()[1..].trim_start().starts_with('}');
                let text: &[u8] = if is_empty { br#""include_usage":true"# } else { br#""include_usage":true,"# };
                edits.push((place..place, text.to_vec()));
            }
        }
    }
    edits.sort_by_key(|(place, _)| place.start);
    Some(edited(body, &edits))
}

/// The body with its model replaced; as it is when it has none.
pub(crate) fn with_model(body: &[u8], model: Option<&RawValue>, name: &str) -> Vec<u8> {
    match model {
        Some(model) => edited(body, &[(span(body, model), quoted(name))]),
        None => body.to_vec(),
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).expect("a string is JSON")
}

/// `edits` in order, none over another.
fn edited(body: &[u8], edits: &[(Range<usize>, Vec<u8>)]) -> Vec<u8> {
    let more: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = Vec::with_capacity(body.len() + more);
    let mut from = 0;
    for (place, text) in edits {
        out.extend_from_slice(&body[from..place.start]);
        out.extend_from_slice(text);
        from = place.end;
    }
    out.extend_from_slice(&body[from..]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn spliced(body: &str, model: &str) -> String {
        let envelope = Envelope::read(body.as_bytes()).unwrap();
        String::from_utf8(upstream_body(body.as_bytes(), &envelope, model).unwrap()).unwrap()
    }

    #[test]
    fn only_the_model_changes() {
        let body =
            "{ \"x\" : [1, {\"model\": \"no\"}],\n\"model\":\"p/a\\u002fb\" ,\"messages\":[], \"stream\": false}";
        let expected = "{ \"x\" : [1, {\"model\": \"no\"}],\n\"model\":\"a/b\" ,\"messages\":[], \"stream\": false}";
        assert_eq!(spliced(body, "a/b"), expected);
        assert_eq!(Envelope::read(body.as_bytes()).unwrap().model().unwrap(), "p/a/b");
    }

    #[test]
    fn a_stream_asks_for_usage_unless_its_client_has_said() {
        let cases = [
            (
                r#"{"model":"p/m","stream":true}"#,
                r#"{"model":"m","stream_options":{"include_usage":true},"stream":true}"#,
            ),
            (
                r#"{"stream_options":null,"model":"p/m","stream":true}"#,
                r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
            ),
            (
                r#"{"model":"p/m","stream":true,"stream_options":{ }}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true }}"#,
            ),
            (
                r#"{"model":"p/m","stream":true,"stream_options":{"include_obfuscation":false}}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
            ),
            (
                r#"{"model":"p/m","stream":true,"stream_options":{"include_usage":false}}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#,
            ),
            (
                r#"{"model":"p/m","stream":true,"stream_options":7}"#,
                r#"{"model":"m","stream":true,"stream_options":7}"#,
            ),
            (r#"{"model":"p/m","stream":null}"#, r#"{"model":"m","stream":null}"#),
        ];
        for (body, expected) in cases {
            assert_eq!(spliced(body, "m"), expected);
        }
    }

    #[test]
    fn what_is_no_plain_object_is_no_envelope() {
        for body in
            ["", "[]", "[\"m\"]", "7", "{\"model\":\"a\",\"model\":\"b\"}", "{\"model\":\"a\"", "{\"model\":\"a\"} x"]
        {
            assert!(Envelope::read(body.as_bytes()).is_none(), "{body}");
        }
        assert!(Envelope::read(&[b"{\"x\":".as_slice(), &[b'['; 100_000]].concat()).is_none());
    }

    proptest! {
        #[test]
        fn a_spliced_body_is_the_same_value_with_another_model(
            keys in prop::collection::vec("[a-z_\"\\\\é🐴]{0,6}", 0..6),
            text in ".{0,30}",
            streams: bool,
        ) {
            let mut body = json!({ "model": "p/m", "stream": streams, "messages": [{ "content": text }] });
            for key in keys {
                if !["model", "stream", "stream_options", "messages", "n"].contains(&key.as_str()) {
                    body[key.as_str()] = json!({ "model": "inner", "text": text });
                }
            }
            let read: Value = serde_json::from_str(&spliced(&body.to_string(), "up\"stream")).unwrap();
            body["model"] = json!("up\"stream");
            if streams {
                body["stream_options"] = json!({ "include_usage": true });
            }
            prop_assert_eq!(read, body);
        }
    }
}
