//! Parameters: from raw JSON straight into their type, with errors that name the field.

use model::OpError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::words::{Fault, fault};

/// Reads parameters. Absent ones and `null` count as `{}`; an explicit `null` for an optional field
/// counts as absent.
pub fn parse<P: DeserializeOwned>(raw: Option<&RawValue>) -> Result<P, OpError> {
    let text = match raw.map(RawValue::get) {
        None | Some("null") => "{}",
        Some(text) => text,
    };
    // A list would be read as the fields in their order, which nobody means.
    if !text.starts_with('{') {
        return Err(OpError::invalid("params", "must be an object"));
    }
    match serde_json::from_str(text) {
        Ok(params) => Ok(params),
        // Only what fails is looked at more closely.
        Err(_) => parse_slowly(text),
    }
}

/// Reads parameters that may be any JSON value; absent ones are `null`.
pub fn parse_any<P: DeserializeOwned>(raw: Option<&RawValue>) -> Result<P, OpError> {
    serde_json::from_str(raw.map_or("null", RawValue::get))
        .map_err(|error| OpError::invalid("params", fault(&error.to_string()).reason))
}

fn parse_slowly<P: DeserializeOwned>(text: &str) -> Result<P, OpError> {
    let unreadable = |_| OpError::invalid("params", "holds a number or a text that cannot be read");
    let mut value: Value = serde_json::from_str(text).map_err(unreadable)?;
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| !value.is_null());
    }
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." || path.contains('?') => String::new(),
            path => path,
        };
        let told = error.into_inner().to_string();
        let Fault { field, reason } = fault(&told);
        OpError::invalid(field.map_or_else(|| path.clone(), |field| join(&path, field)), reason)
    })
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Sample {
        message: String,
        #[serde(default)]
        limit: i64,
        #[serde(default)]
        facts: Vec<Fact>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Fact {
        since: i64,
    }

    fn fail(text: &str) -> (String, String) {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        let error = parse::<Sample>(Some(&raw)).unwrap_err();
        (error.field.unwrap_or_default(), error.message)
    }

    #[test]
    fn errors_name_the_field_and_the_reason() {
        assert_eq!(fail("{}"), ("message".into(), "message: is required".into()));
        assert_eq!(fail(r#"{"message":1}"#), ("message".into(), "message: must be a string".into()));
        assert_eq!(
            fail(r#"{"message":"x","facts":[{"since":"y"}]}"#),
            ("facts[0].since".into(), "facts[0].since: must be an integer".into())
        );
        assert_eq!(fail(r#"{"message":"x","facts":{"since":1}}"#), ("facts".into(), "facts: must be an array".into()));
        assert_eq!(
            fail(r#"{"message":"x","limit":1e999}"#),
            ("params".into(), "params: holds a number or a text that cannot be read".into())
        );
        assert_eq!(fail(r#"{"message":"x","facts":[{}]}"#).0, "facts[0].since");
        assert_eq!(fail("[1]").0, "params");
        assert_eq!(fail("7").0, "params");
    }

    #[test]
    fn an_explicit_null_counts_as_absent() {
        let raw = RawValue::from_string(r#"{"message":"x","limit":null}"#.to_owned()).unwrap();
        let sample: Sample = parse(Some(&raw)).unwrap();
        assert_eq!(sample, Sample { message: "x".into(), limit: 0, facts: vec![] });
    }
}
