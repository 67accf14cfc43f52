//! Checking a request field by field, so that its sender is told all that is wrong with it at once.

use serde_json::{Map, Value};

use crate::errors::ApiError;

/// What is wrong with a request: each a dotted path and a reason.
#[derive(Debug, Default)]
pub(crate) struct Issues(Vec<(String, String)>);

/// Most faults that one refusal names; further ones add nothing.
const ISSUES_MAX: usize = 20;

impl Issues {
    pub fn add(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        if self.0.len() < ISSUES_MAX {
            self.0.push((path.into(), reason.into()));
        }
    }

    /// `Invalid request: <path>: <reason>[; …]`; the parameter at fault is the first of the first path.
    pub fn result(self) -> Result<(), ApiError> {
        let Some((first, _)) = self.0.first() else { return Ok(()) };
        let param = first.split('.').next().filter(|param| !param.is_empty()).map(str::to_owned);
        let issues: Vec<String> = self.0.iter().map(|(path, reason)| format!("{path}: {reason}")).collect();
        Err(ApiError { param, ..ApiError::bad_request(format!("Invalid request: {}", issues.join("; "))) })
    }
}

/// An object of the request, read key by key. `null` counts as absent.
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    /// `None`, with an issue, when `value` is no object.
    pub fn new(value: &'a Value, path: impl Into<String>, issues: &mut Issues) -> Option<Self> {
        let path = path.into();
        match value {
            Value::Object(object) => Some(Self { object, path }),
            other => {
                issues.add(path, expected("object", Some(other)));
                None
            }
        }
    }

    /// The path of one of its fields.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Names every key that is not among `known`.
    pub fn only(&self, known: &[&str], issues: &mut Issues) {
        let unknown: Vec<String> =
            self.object.keys().filter(|key| !known.contains(&key.as_str())).map(|key| format!("{key:?}")).collect();
        match unknown.as_slice() {
            [] => {}
            [one] => issues.add(self.path.clone(), format!("Unrecognized key: {one}")),
            many => issues.add(self.path.clone(), format!("Unrecognized keys: {}", many.join(", "))),
        }
    }

    pub fn string(&self, key: &str, issues: &mut Issues) -> Option<&'a str> {
        let value = self.get(key)?;
        let text = value.as_str();
        if text.is_none() {
            issues.add(self.at(key), expected("string", Some(value)));
        }
        text
    }

    /// A string that must be there.
    pub fn required_string(&self, key: &str, issues: &mut Issues) -> Option<&'a str> {
        if self.get(key).is_none() {
            issues.add(self.at(key), expected("string", self.object.get(key)));
        }
        self.string(key, issues)
    }

    /// A string that must be there and hold something.
    pub fn filled_string(&self, key: &str, issues: &mut Issues) -> Option<&'a str> {
        let text = self.required_string(key, issues)?;
        if text.is_empty() {
            issues.add(self.at(key), "Too small: expected string to have >=1 characters");
            return None;
        }
        Some(text)
    }

    pub fn boolean(&self, key: &str, issues: &mut Issues) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            issues.add(self.at(key), expected("boolean", Some(value)));
        }
        flag
    }

    /// A number within bounds, both included.
    pub fn number(&self, key: &str, min: f64, max: f64, issues: &mut Issues) -> Option<f64> {
        let value = self.get(key)?;
        let Some(number) = value.as_f64() else {
            issues.add(self.at(key), expected("number", Some(value)));
            return None;
        };
        if number < min {
            issues.add(self.at(key), format!("Too small: expected number to be >={min}"));
        } else if number > max {
            issues.add(self.at(key), format!("Too big: expected number to be <={max}"));
        } else {
            return Some(number);
        }
        None
    }

    /// A whole number within bounds, both included; `3.0` is one too.
    pub fn integer(&self, key: &str, min: i64, max: i64, issues: &mut Issues) -> Option<i64> {
        let value = self.get(key)?;
        #[allow(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
        let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
        let Some(number) = value.as_i64().or_else(|| value.as_f64().and_then(whole)) else {
            issues.add(self.at(key), expected("int", Some(value)));
            return None;
        };
        if number < min {
            issues.add(self.at(key), format!("Too small: expected number to be >={min}"));
        } else if number > max {
            issues.add(self.at(key), format!("Too big: expected number to be <={max}"));
        } else {
            return Some(number);
        }
        None
    }

    pub fn array(&self, key: &str, issues: &mut Issues) -> Option<&'a [Value]> {
        let value = self.get(key)?;
        let items = value.as_array().map(Vec::as_slice);
        if items.is_none() {
            issues.add(self.at(key), expected("array", Some(value)));
        }
        items
    }

    pub fn object(&self, key: &str, issues: &mut Issues) -> Option<Fields<'a>> {
        Fields::new(self.get(key)?, self.at(key), issues)
    }

    /// One of a few words.
    pub fn choice(&self, key: &str, words: &[&str], issues: &mut Issues) -> Option<&'a str> {
        let value = self.get(key)?;
        let word = value.as_str().filter(|word| words.contains(word));
        if word.is_none() {
            issues.add(self.at(key), one_of(words));
        }
        word
    }
}

/// `Invalid option: expected one of "a"|"b"`
pub(crate) fn one_of(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("Invalid option: expected one of {}", words.join("|"))
}

/// `Invalid input: expected string, received number`
pub(crate) fn expected(what: &str, value: Option<&Value>) -> String {
    let received = match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    };
    format!("Invalid input: expected {what}, received {received}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_faults_are_named_with_their_places() {
        let value = json!({ "a": 1, "b": 2.5, "c": "x", "d": { "e": [] }, "z": null, "y": 1 });
        let mut issues = Issues::default();
        let fields = Fields::new(&value, "", &mut issues).unwrap();
        assert_eq!(fields.string("a", &mut issues), None);
        assert_eq!(fields.integer("b", 0, 9, &mut issues), None);
        assert_eq!(fields.choice("c", &["p", "q"], &mut issues), None);
        let inner = fields.object("d", &mut issues).unwrap();
        assert_eq!(inner.number("e", 0.0, 2.0, &mut issues), None);
        assert_eq!((fields.required_string("z", &mut issues), fields.string("z", &mut issues)), (None, None));
        fields.only(&["a", "b", "c"], &mut issues);
        let error = issues.result().unwrap_err();
        let expected = "Invalid request: a: Invalid input: expected string, received number; \
            b: Invalid input: expected int, received number; c: Invalid option: expected one of \"p\"|\"q\"; \
            d.e: Invalid input: expected number, received array; z: Invalid input: expected string, received null; \
            : Unrecognized keys: \"d\", \"y\", \"z\"";
        assert_eq!((error.message.as_str(), error.param.as_deref()), (expected, Some("a")));
    }

    #[test]
    fn an_unknown_key_at_the_top_has_no_parameter() {
        let value = json!({ "x": 1 });
        let mut issues = Issues::default();
        Fields::new(&value, "", &mut issues).unwrap().only(&[], &mut issues);
        let error = issues.result().unwrap_err();
        assert_eq!((error.message.as_str(), error.param), ("Invalid request: : Unrecognized key: \"x\"", None));
    }

    #[test]
    fn whole_numbers_may_be_written_with_a_point() {
        let value = json!({ "a": 3.0, "b": 11, "c": -1 });
        let mut issues = Issues::default();
        let fields = Fields::new(&value, "", &mut issues).unwrap();
        assert_eq!(fields.integer("a", 0, 10, &mut issues), Some(3));
        assert!(issues.0.is_empty());
        assert_eq!(fields.integer("b", 0, 10, &mut issues), None);
        assert_eq!(fields.number("c", 0.0, 10.0, &mut issues), None);
        let message = issues.result().unwrap_err().message;
        assert_eq!(
            message,
            "Invalid request: b: Too big: expected number to be <=10; c: Too small: expected number to be >=0"
        );
    }
}
