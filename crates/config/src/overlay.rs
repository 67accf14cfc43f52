//! Laying one tree over another, and single values into a tree.

use serde_json::{Map, Value};

use model::REDACTED;

use crate::path::{Path, Segment};
use crate::references::reference;
use crate::shape::Shape;
use crate::text;

/// Lays `over` on `base`: tables meet key by key, everything else is replaced whole, lists too.
///
/// Where a word like `kind` chooses among shapes and `over` chooses another one, the table is
/// replaced as well: the keys of the former shape would be unknown to the new one.
pub(crate) fn lay_over(base: Value, over: Value, shape: &Shape, path: &Path) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) if !chooses_another(&base, &over, shape, path) => {
            let mut both = base;
            for (key, value) in over {
                let value = match both.remove(&key) {
                    Some(below) => lay_over(below, value, shape, &path.key(key.as_str())),
                    None => value,
                };
                both.insert(key, value);
            }
            Value::Object(both)
        }
        (_, over) => over,
    }
}

fn chooses_another(base: &Map<String, Value>, over: &Map<String, Value>, shape: &Shape, path: &Path) -> bool {
    let nodes = shape.nodes_at(path);
    let alternatives: Vec<&Value> = nodes
        .iter()
        .filter_map(|node| node.get("oneOf").or_else(|| node.get("anyOf"))?.as_array())
        .flatten()
        .map(|part| shape.resolve(part))
        .filter(|part| part.get("properties").is_some())
        .collect();
    let differs = |tag| matches!((base.get(tag), over.get(tag)), (Some(base), Some(over)) if base != over);
    alternatives.len() > 1 && shape.tag(&alternatives).is_some_and(differs)
}

/// The default tree as a base: without what is absent, and without secrets, which a serialized
/// struct does not show. Deserialization fills both in again from the same defaults.
pub(crate) fn base_of_defaults(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text == REDACTED => None,
        Value::Array(items) => items.into_iter().map(base_of_defaults).collect::<Option<Vec<_>>>().map(Value::Array),
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(key, value)| Some((key, base_of_defaults(value)?)));
            Some(Value::Object(kept.collect()))
        }
        other => Some(other),
    }
}

/// The path a variable's lower-case name means. Keys are matched without regard to case against
/// what is written, what is a default and what the schema knows; a number counts into a list.
pub(crate) fn path_of_name(names: &[String], tree: &Value, defaults: &Value, shape: &Shape) -> Path {
    let mut path = Path::root();
    for name in names {
        let here = [path.find(tree), path.find(defaults)];
        let in_list = here.iter().flatten().next().is_some_and(|value| value.is_array());
        path = match name.parse() {
            Ok(index) if in_list => path.index(index),
            _ => {
                let written = here.iter().flatten().filter_map(|value| value.as_object()).flat_map(Map::keys);
                let mut known = written.map(String::as_str).chain(shape.known_keys(&path));
                let key = known.find(|key| key.eq_ignore_ascii_case(name)).unwrap_or(name).to_owned();
                path.key(key)
            }
        };
    }
    path
}

/// What a variable or flag says about `path`: a TOML value if it is one and may stand there, else
/// the text itself. So a secret of digits stays a text, and `["a"]` is a list.
pub(crate) fn value_of_text(written: &str, path: &Path, shape: &Shape) -> Value {
    let as_text = || Value::String(written.to_owned());
    match text::parse_value(written) {
        None => as_text(),
        Some(value) if value.is_string() || shape.accepts_type_of(path, &value) => value,
        Some(value) if reference(&value).is_some() => value,
        Some(_) if shape.accepts_string(path) => as_text(),
        Some(value) => value,
    }
}

/// Puts `value` at `path`, making tables on the way and replacing what is no table. A list that is
/// only a default is taken over before one of its items is changed.
///
/// Fails with the bound when an index lies beyond the end of its list.
pub(crate) fn put(tree: &mut Value, defaults: &Value, path: &Path, value: Value) -> Result<(), String> {
    let mut place = tree;
    let mut here = Path::root();
    for segment in path.segments() {
        match segment {
            Segment::Key(key) => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                let map = place.as_object_mut().expect("made a table above");
                place = map.entry(key.clone()).or_insert(Value::Null);
            }
            Segment::Index(index) => {
                if !place.is_array() {
                    let default = here.find(defaults).filter(|default| default.is_array());
                    *place = default.cloned().unwrap_or_else(|| Value::Array(Vec::new()));
                }
                let items = place.as_array_mut().expect("made a list above");
                if *index > items.len() {
                    return Err(format!("`{here}` has {} items; the next is number {}", items.len(), items.len()));
                }
                if *index == items.len() {
                    items.push(Value::Null);
                }
                place = &mut items[*index];
            }
        }
        here = here.child(segment.clone());
    }
    *place = value;
    Ok(())
}

/// Drops what a caller wrote as `null`, which TOML cannot say and which means "not set".
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        other => other,
    }
}
