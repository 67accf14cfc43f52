//! Whether a frame is what was expected, placeholders and all.

use std::collections::BTreeMap;

use model::Timestamp;
use serde_json::Value;

/// What the names of a transcript stand for.
pub(super) type Captures = BTreeMap<String, Value>;

/// What lets an object or an array have more than is written.
const MORE: &str = "...";

/// `Err` tells the place and the difference; then nothing was captured.
pub(super) fn compare(expected: &Value, got: &Value, captures: &mut Captures) -> Result<(), String> {
    let mut found = captures.clone();
    walk("", expected, got, &mut found)?;
    *captures = found;
    Ok(())
}

/// The text with each `"<name>"` that stands for something replaced by its JSON.
pub(super) fn fill(text: &str, captures: &Captures) -> String {
    captures
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("\"<{name}>\""), &value.to_string()))
}

fn walk(path: &str, expected: &Value, got: &Value, captures: &mut Captures) -> Result<(), String> {
    match (expected, got) {
        (Value::String(text), _) if placeholder(text).is_some() => {
            let name = placeholder(text).unwrap_or_default();
            held_by(path, name, got, captures)
        }
        (Value::Object(expected), Value::Object(got)) => {
            let takes_more = expected.contains_key(MORE);
            for (key, value) in expected.iter().filter(|(key, _)| *key != MORE) {
                let here = format!("{path}.{key}");
                walk(&here, value, got.get(key).ok_or_else(|| format!("{here}: is missing"))?, captures)?;
            }
            match got.iter().find(|(key, _)| !takes_more && !expected.contains_key(*key)) {
                Some((key, value)) => Err(format!("{path}.{key}: was not expected, is {value}")),
                None => Ok(()),
            }
        }
        (Value::Array(expected), Value::Array(got)) => {
            let takes_more = expected.last().and_then(Value::as_str) == Some(MORE);
            let written = expected.len() - usize::from(takes_more);
            if got.len() < written || (got.len() > written && !takes_more) {
                return Err(format!("{path}: has {} elements where {written} were expected", got.len()));
            }
            expected[..written]
                .iter()
                .zip(got)
                .enumerate()
                .try_for_each(|(index, (expected, got))| walk(&format!("{path}[{index}]"), expected, got, captures))
        }
        _ if expected == got => Ok(()),
        _ => Err(format!("{path}: is {got} where {expected} was expected")),
    }
}

fn placeholder(text: &str) -> Option<&str> {
    let name = text.strip_prefix('<')?.strip_suffix('>')?;
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(name)
}

fn held_by(path: &str, name: &str, got: &Value, captures: &mut Captures) -> Result<(), String> {
    let fits = match name {
        "any" => true,
        "string" => got.is_string(),
        "int" => got.is_i64() || got.is_u64(),
        "bool" => got.is_boolean(),
        "iso" => got.as_str().is_some_and(|text| Timestamp::parse_iso(text).is_some_and(|time| time.to_iso() == text)),
        name => match captures.get(name) {
            Some(known) if known == got => return Ok(()),
            Some(known) => return Err(format!("{path}: is {got} where <{name}> is {known}")),
            None => {
                captures.insert(name.to_owned(), got.clone());
                return Ok(());
            }
        },
    };
    if fits { Ok(()) } else { Err(format!("{path}: {got} is not <{name}>")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(expected: Value, got: Value) -> Result<(), String> {
        compare(&expected, &got, &mut Captures::new())
    }

    #[test]
    fn values_are_compared_whole_unless_more_is_allowed() {
        assert_eq!(check(json!({ "a": [1, 2] }), json!({ "a": [1, 2] })), Ok(()));
        assert_eq!(check(json!({ "a": 1 }), json!({ "a": 1, "b": 2 })), Err(".b: was not expected, is 2".into()));
        assert_eq!(check(json!({ "a": 1, "...": "..." }), json!({ "a": 1, "b": 2 })), Ok(()));
        assert_eq!(check(json!({ "a": 1 }), json!({})), Err(".a: is missing".into()));
        assert_eq!(check(json!([1, "..."]), json!([1, 2, 3])), Ok(()));
        assert_eq!(check(json!([1]), json!([1, 2])), Err(": has 2 elements where 1 were expected".into()));
        assert_eq!(check(json!({ "a": [1] }), json!({ "a": [2] })), Err(".a[0]: is 2 where 1 was expected".into()));
        assert!(check(json!(1), json!(1.0)).is_err());
    }

    #[test]
    fn kinds_hold_any_value_of_the_kind() {
        let cases = [
            ("<any>", json!(null)),
            ("<int>", json!(-3)),
            ("<string>", json!("")),
            ("<bool>", json!(false)),
            ("<iso>", json!("2026-05-04T10:00:00.000Z")),
        ];
        for (kind, value) in cases {
            assert_eq!(check(json!(kind), value), Ok(()), "{kind}");
        }
        for (kind, value) in
            [("<int>", json!(1.5)), ("<string>", json!(1)), ("<iso>", json!("2026-05-04")), ("<bool>", json!(0))]
        {
            assert!(check(json!(kind), value).is_err(), "{kind}");
        }
    }

    #[test]
    fn names_keep_their_first_value_and_fill_what_is_sent() {
        let mut captures = Captures::new();
        assert_eq!(compare(&json!({ "id": "<run>" }), &json!({ "id": "r1" }), &mut captures), Ok(()));
        assert_eq!(compare(&json!(["<run>"]), &json!(["r1"]), &mut captures), Ok(()));
        assert_eq!(
            compare(&json!(["<run>"]), &json!(["r2"]), &mut captures),
            Err("[0]: is \"r2\" where <run> is \"r1\"".into())
        );
        assert_eq!(fill("{\"x\":\"<run>\",\"y\":\"<other>\"}", &captures), "{\"x\":\"r1\",\"y\":\"<other>\"}");
    }

    #[test]
    fn a_frame_that_does_not_fit_captures_nothing() {
        let mut captures = Captures::new();
        assert!(compare(&json!({ "a": "<x>", "b": 1 }), &json!({ "a": "y", "b": 2 }), &mut captures).is_err());
        assert!(captures.is_empty());
    }
}
