//! Words, numbers and lengths, and what to say when they are wrong.

use serde_json::{Number, Value};

use super::Walk;
use crate::fault::{Fault, FaultKind};
use crate::path::Path;
use crate::suggest::nearest;

impl<'a> Walk<'a> {
    pub(super) fn unknown_word(&mut self, known: &[&Value], value: &Value, path: &Path) {
        let words: Vec<&str> = known.iter().filter_map(|word| word.as_str()).collect();
        let hint = match value.as_str().and_then(|text| nearest(text, words)) {
            Some(near) if self.shown(value, path).is_some() => Some(format!("did you mean `{near}`?")),
            _ => Some(format!("expected {}", one_of(known))),
        };
        let message = match self.shown(value, path) {
            Some(shown) => format!("unknown value {shown}"),
            None => "unknown value".to_owned(),
        };
        self.faults.push(Fault::new(FaultKind::Value, path, message).hint(hint));
    }

    pub(super) fn wrong_type(&mut self, nodes: &[&Value], value: &Value, path: &Path) {
        let mut expected: Vec<&str> = nodes.iter().flat_map(|node| expected_types(node)).collect();
        let mut seen = Vec::new();
        expected.retain(|name| {
            !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        let found = self.found(value, path);
        let unquoted = value.as_str().is_some_and(|text| {
            let meant = crate::text::parse_value(text);
            meant.is_some_and(|meant| {
                super::type_names(&meant).iter().any(|t| nodes.iter().any(|n| super::says_type(n, t)))
            })
        });
        let hint = unquoted.then(|| "write it without quotes".to_owned());
        let message = format!("expected {}, found {found}", expected.join(" or "));
        self.faults.push(Fault::new(FaultKind::Value, path, message).hint(hint));
    }

    pub(super) fn not_a_secret(&mut self, value: &Value, path: &Path) {
        let found = self.found(value, path);
        let expected = "a string, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`";
        self.fault(path, format!("expected {expected}, found {found}"));
    }

    fn found(&self, value: &Value, path: &Path) -> String {
        let kind = match value {
            Value::Object(_) => return "a table".to_owned(),
            Value::Array(_) => return "a list".to_owned(),
            Value::Null => return "nothing".to_owned(),
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
        };
        match self.shown(value, path) {
            Some(shown) => format!("the {kind} {shown}"),
            None => format!("a {kind}"),
        }
    }

    pub(super) fn text(&mut self, node: &Value, text: &str, path: &Path) {
        self.size(node, ["minLength", "maxLength"], text.chars().count(), "characters", path);
    }

    /// Lengths of texts and lists against `[least, most]`.
    pub(super) fn size(&mut self, node: &Value, [least, most]: [&str; 2], size: usize, unit: &str, path: &Path) {
        let bound = |name: &str| node.get(name).and_then(Value::as_u64);
        let size = size as u64;
        match (bound(least), bound(most)) {
            (Some(1), _) if size == 0 => self.fault(path, "must not be empty".to_owned()),
            (Some(least), _) if size < least => {
                self.fault(path, format!("must have at least {least} {unit}, not {size}"));
            }
            (_, Some(most)) if size > most => self.fault(path, format!("must have at most {most} {unit}, not {size}")),
            _ => {}
        }
    }

    pub(super) fn number(&mut self, node: &Value, number: &Number, path: &Path) {
        let value = Value::Number(number.clone());
        let (width_least, width_most) = width(node).unwrap_or((i128::MIN, i128::MAX));
        let exact = number.as_i128();
        let float = number.as_f64().unwrap_or(f64::NAN);
        let bound = |name: &str| node.get(name).and_then(Value::as_number);
        let requirement = if let Some(least) = bound("minimum").filter(|least| below(number, least)) {
            format!("must be at least {least}")
        } else if let Some(most) = bound("maximum").filter(|most| below(most, number)) {
            format!("must be at most {most}")
        } else if let Some(least) = bound("exclusiveMinimum").filter(|least| !below(least, number)) {
            format!("must be greater than {least}")
        } else if let Some(most) = bound("exclusiveMaximum").filter(|most| !below(number, most)) {
            format!("must be less than {most}")
        } else if exact.is_some_and(|exact| exact < width_least) {
            format!("must be at least {width_least}")
        } else if exact.is_some_and(|exact| exact > width_most) {
            format!("must be at most {width_most}")
        } else if bound("multipleOf")
            .and_then(Number::as_f64)
            .is_some_and(|step| step > 0.0 && (float / step).fract() != 0.0)
        {
            format!("must be a multiple of {}", node["multipleOf"])
        } else {
            return;
        };
        let found = self.shown(&value, path).map(|shown| format!(", not {}", shown.trim_matches('`')));
        self.fault(path, requirement + &found.unwrap_or_default());
    }
}

fn below(left: &Number, right: &Number) -> bool {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => left < right,
        _ => left.as_f64() < right.as_f64(),
    }
}

/// The range of the integer type that `format` names; the schema itself states only some of them.
fn width(node: &Value) -> Option<(i128, i128)> {
    let range = match node.get("format")?.as_str()? {
        "uint8" => (0, i128::from(u8::MAX)),
        "uint16" => (0, i128::from(u16::MAX)),
        "uint32" => (0, i128::from(u32::MAX)),
        "uint64" | "uint" => (0, i128::from(u64::MAX)),
        "int8" => (i128::from(i8::MIN), i128::from(i8::MAX)),
        "int16" => (i128::from(i16::MIN), i128::from(i16::MAX)),
        "int32" => (i128::from(i32::MIN), i128::from(i32::MAX)),
        "int64" | "int" => (i128::from(i64::MIN), i128::from(i64::MAX)),
        _ => return None,
    };
    Some(range)
}

fn expected_types(node: &Value) -> Vec<&'static str> {
    const TYPES: [(&str, &str); 6] = [
        ("string", "a string"),
        ("integer", "an integer"),
        ("number", "a number"),
        ("boolean", "true or false"),
        ("array", "a list"),
        ("object", "a table"),
    ];
    let said = TYPES.iter().filter(|(name, _)| super::says_type(node, name));
    // Fixed integers are numbers too; one word is enough.
    let mut words: Vec<&'static str> = said.map(|(_, word)| *word).collect();
    if words.contains(&"an integer") {
        words.retain(|word| *word != "a number");
    }
    words
}

fn one_of(known: &[&Value]) -> String {
    let words = known.iter().map(|word| match word {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    });
    words.collect::<Vec<_>>().join(", ")
}
