//! Walks a tree along the JSON Schema and finds everything that is wrong with it at once.
//!
//! Deserialization would stop at the first fault and could not say where a key is known instead.
//! It runs afterwards all the same; what only it knows (custom types) is found then.

mod branches;
mod scalars;

use serde_json::{Map, Value};

use crate::fault::{Fault, FaultKind};
use crate::path::Path;
use crate::shape::{Shape, literals, properties, says_type, type_names};
use crate::suggest::{nearest, same_word};

/// More keys than this are not listed in a hint.
const KEYS_LISTED_MAX: usize = 16;
const PLACES_LISTED_MAX: usize = 3;

/// Nobody mends more at once; a text of nothing but faults must not cost a search for each.
pub(crate) const FAULTS_MAX: usize = 100;

/// A text longer than this is cut when shown.
const SHOWN_CHARS_MAX: usize = 60;

/// All faults of `value`. `written` is the same tree before references were followed, so that a
/// message shows what was written and never what a variable or a file held.
pub(crate) fn check(shape: &Shape, value: &Value, written: &Value) -> Vec<Fault> {
    let mut walk = Walk { shape, written, faults: Vec::new() };
    walk.node(shape.root(), value, &Path::root());
    walk.faults
}

struct Walk<'a> {
    shape: &'a Shape,
    written: &'a Value,
    faults: Vec<Fault>,
}

impl<'a> Walk<'a> {
    fn node(&mut self, node: &'a Value, value: &Value, path: &Path) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        let node = self.shape.resolve(node);
        if *node == Value::Bool(false) {
            return self.fault(path, "nothing may stand here".to_owned());
        }
        if self.shape.describes_secret(node) {
            if !value.is_string() {
                self.not_a_secret(value, path);
            }
            return;
        }
        if let Some(known) = literals(node) {
            if !known.contains(&value) {
                self.unknown_word(&known, value, path);
            }
            return;
        }
        if node.get("type").is_some() && !type_names(value).iter().any(|name| says_type(node, name)) {
            return self.wrong_type(&[node], value, path);
        }
        node.get("allOf").and_then(Value::as_array).into_iter().flatten().for_each(|part| self.node(part, value, path));
        for name in ["anyOf", "oneOf"] {
            if let Some(parts) = node.get(name).and_then(Value::as_array) {
                self.branches(parts, value, path);
            }
        }
        match value {
            Value::Object(map) => self.object(node, map, value, path),
            Value::Array(items) => self.list(node, items, path),
            Value::String(text) => self.text(node, text, path),
            Value::Number(number) => self.number(node, number, path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&mut self, node: &'a Value, map: &Map<String, Value>, value: &Value, path: &Path) {
        let known = properties(node);
        let refused = |name: &str| node.get(name) == Some(&Value::Bool(false));
        let others = node.get("additionalProperties").filter(|others| others.is_object());
        let by_pattern = node.get("patternProperties").and_then(Value::as_object).and_then(|all| all.values().next());
        for (key, child) in map {
            if self.faults.len() >= FAULTS_MAX {
                return;
            }
            let child_path = path.key(key.as_str());
            match known.and_then(|known| known.get(key)).or(by_pattern).or(others) {
                Some(schema) => self.node(schema, child, &child_path),
                None if refused("additionalProperties") => self.unknown_key(node, key, path),
                None if refused("unevaluatedProperties") && !self.known_to_part(node, value, key) => {
                    self.unknown_key(node, key, path);
                }
                None => {}
            }
            if let Some(names) = node.get("propertyNames") {
                self.node(names, &Value::String(key.clone()), &child_path);
            }
        }
        let required = node.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for key in required.filter(|key| !map.contains_key(*key)) {
            self.fault(&path.key(key), "is required and missing".to_owned());
        }
    }

    fn list(&mut self, node: &'a Value, items: &[Value], path: &Path) {
        let fixed = node.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (index, item) in items.iter().enumerate() {
            match fixed.get(index).or_else(|| node.get("items")) {
                Some(Value::Bool(false)) => {
                    return self.fault(path, format!("expected {} items, found {}", fixed.len(), items.len()));
                }
                Some(schema) => self.node(schema, item, &path.index(index)),
                None => {}
            }
        }
        self.size(node, ["minItems", "maxItems"], items.len(), "items", path);
    }

    fn unknown_key(&mut self, node: &'a Value, key: &str, path: &Path) {
        let known = self.shape.known_keys_of(node);
        let hint = match nearest(key, known.iter().copied()) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None => self
                .known_to_another_kind(node, key, &known, path)
                .or_else(|| self.known_elsewhere(key, path))
                .or_else(|| list_of_keys(&known).map(|keys| format!("known keys: {keys}"))),
        };
        self.faults.push(Fault::new(FaultKind::UnknownKey, &path.key(key), "unknown key").hint(hint));
    }

    /// The key exists here, but with another word in the property that chooses among shapes.
    fn known_to_another_kind(&self, node: &'a Value, key: &str, known: &[&str], path: &Path) -> Option<String> {
        let elsewhere_here = self.shape.known_keys(path).contains(&key);
        let (tag, word) = known.iter().find_map(|tag| Some((tag, self.shape.tag_word(node, tag)?)))?;
        let keys = list_of_keys(known).filter(|_| elsewhere_here)?;
        Some(format!("with `{tag} = \"{word}\"` the known keys are {keys}"))
    }

    /// Where such a key does exist: one level up first, then anywhere.
    fn known_elsewhere(&self, key: &str, path: &Path) -> Option<String> {
        if let Some(parent) = path.parent() {
            let known = self.shape.known_keys(&parent);
            if let Some(near) = nearest(key, known) {
                return Some(format!("such a key exists one level up: `{}`", parent.key(near)));
            }
        }
        let places = self.shape.places_of(&|known| same_word(known, key));
        let listed: Vec<String> = places.iter().take(PLACES_LISTED_MAX).map(|place| format!("`{place}`")).collect();
        (!listed.is_empty()).then(|| format!("such a key exists at {}", listed.join(", ")))
    }

    fn fault(&mut self, path: &Path, message: String) {
        self.faults.push(Fault::new(FaultKind::Value, path, message));
    }

    /// The value as written, in backticks; `None` when it must not be shown.
    fn shown(&self, value: &Value, path: &Path) -> Option<String> {
        let value = path.find(self.written).unwrap_or(value);
        if self.shape.is_secret(path, value) {
            return None;
        }
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut chars = text.chars();
        let mut shown: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
        if chars.next().is_some() {
            shown.push('…');
        }
        Some(format!("`{}`", shown.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")))
    }
}

fn list_of_keys(known: &[&str]) -> Option<String> {
    let listed: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
    (1..=KEYS_LISTED_MAX).contains(&listed.len()).then(|| listed.join(", "))
}

#[cfg(test)]
mod tests;
