//! Which keys differ between two configurations.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::path::Path;

/// The dotted paths of all leaves that differ, sorted. A list is one leaf: an item that was put in
/// front would otherwise change every other.
pub(crate) fn changed_keys(old: &Value, new: &Value) -> Vec<String> {
    let mut changed = BTreeSet::new();
    compare(Some(old), Some(new), &Path::root(), &mut changed);
    changed.into_iter().collect()
}

fn compare(old: Option<&Value>, new: Option<&Value>, path: &Path, changed: &mut BTreeSet<String>) {
    let absent = |value: Option<&Value>| value.is_none_or(Value::is_null);
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            keys.into_iter().for_each(|key| compare(old.get(key), new.get(key), &path.key(key.as_str()), changed));
        }
        // A table that came or went is told by its leaves; an empty one by itself.
        (Some(Value::Object(table)), other) | (other, Some(Value::Object(table))) => {
            if table.is_empty() || !absent(other) {
                changed.insert(path.to_string());
            }
            let came = matches!(new, Some(Value::Object(_)));
            for (key, value) in table {
                let (old, new) = if came { (None, Some(value)) } else { (Some(value), None) };
                compare(old, new, &path.key(key.as_str()), changed);
            }
        }
        (old, new) if absent(old) && absent(new) => {}
        (old, new) if old == new => {}
        _ => {
            changed.insert(path.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_that_differ_are_named_and_sorted() {
        let old = json!({"a": {"x": 1, "y": [1, 2], "z": null}, "b": {"p": {"q": 1}}, "same": "s"});
        let new = json!({"a": {"x": 2, "y": [1], "w": null}, "c": {"r": true, "e": {}}, "same": "s"});
        assert_eq!(changed_keys(&old, &new), ["a.x", "a.y", "b.p.q", "c.e", "c.r"]);
        assert_eq!(changed_keys(&old, &old), Vec::<String>::new());
    }

    #[test]
    fn a_key_that_needs_quotes_gets_them() {
        assert_eq!(changed_keys(&json!({"m": {}}), &json!({"m": {"a.b": 1}})), ["m.\"a.b\""]);
    }
}
