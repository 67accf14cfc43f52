//! Alternatives: which of several schemas a value was meant for.

use serde_json::Value;

use super::Walk;
use crate::fault::Fault;
use crate::path::Path;
use crate::shape::{Shape, literals, properties, says_type, type_names};

impl<'a> Walk<'a> {
    /// A value that fits none of `parts` is judged by the one it was most likely meant for.
    pub(super) fn branches(&mut self, parts: &'a [Value], value: &Value, path: &Path) {
        let mut options = Vec::new();
        flatten(self.shape, parts, &mut options);
        let mut tried: Vec<(&Value, Vec<Fault>)> = Vec::new();
        for option in options {
            let mut walk = Walk { shape: self.shape, written: self.written, faults: Vec::new() };
            walk.node(option, value, path);
            if walk.faults.is_empty() {
                return;
            }
            tried.push((option, walk.faults));
        }
        let all: Vec<&Value> = tried.iter().map(|(option, _)| *option).collect();
        tried.retain(|(option, _)| type_names(value).iter().any(|name| says_type(option, name)));
        let fitting: Vec<&Value> = tried.iter().map(|(option, _)| *option).collect();
        if fitting.is_empty() {
            if all.iter().any(|option| self.shape.describes_secret(option)) {
                return self.not_a_secret(value, path);
            }
            let expected: Vec<&Value> = all.into_iter().filter(|option| !says_type(option, "null")).collect();
            return self.wrong_type(&expected, value, path);
        }
        if let Some(words) = fitting.iter().map(|option| literals(option)).collect::<Option<Vec<_>>>() {
            return self.unknown_word(&words.concat(), value, path);
        }
        match self.shape.tag(&fitting) {
            Some(tag) => self.tagged(tag, tried, value, path),
            None => {
                let likeliest = tried.into_iter().min_by_key(|(_, faults)| faults.len());
                self.faults.extend(likeliest.map(|(_, faults)| faults).unwrap_or_default());
            }
        }
    }

    fn tagged(&mut self, tag: &str, tried: Vec<(&'a Value, Vec<Fault>)>, value: &Value, path: &Path) {
        let words: Vec<Value> =
            tried.iter().filter_map(|(option, _)| self.shape.tag_word(option, tag)).map(Value::from).collect();
        let words: Vec<&Value> = words.iter().collect();
        let Some(written) = value.get(tag) else {
            let listed =
                words.iter().map(|word| format!("`{}`", word.as_str().unwrap_or_default())).collect::<Vec<_>>();
            return self.fault(&path.key(tag), format!("is required and missing; expected {}", listed.join(", ")));
        };
        if !words.contains(&written) {
            return self.unknown_word(&words, written, &path.key(tag));
        }
        let meant = tried.into_iter().filter(|(option, _)| self.shape.tag_word(option, tag) == written.as_str());
        let likeliest = meant.min_by_key(|(_, faults)| faults.len());
        self.faults.extend(likeliest.map(|(_, faults)| faults).unwrap_or_default());
    }

    /// Whether one of the alternatives beside the properties of `node` knows `key`; where a tag
    /// chooses among them, the chosen one.
    pub(super) fn known_to_part(&self, node: &'a Value, value: &Value, key: &str) -> bool {
        let lists = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|name| node.get(name)?.as_array());
        for parts in lists {
            let mut options = Vec::new();
            flatten(self.shape, parts, &mut options);
            options.retain(|option| properties(option).is_some());
            if let Some(tag) = self.shape.tag(&options).filter(|tag| value.get(*tag).is_some()) {
                options.retain(|option| self.shape.tag_word(option, tag) == value[tag].as_str());
            }
            if options.iter().any(|option| properties(option).is_some_and(|known| known.contains_key(key))) {
                return true;
            }
        }
        false
    }
}

/// Resolves references and opens alternatives that hold nothing but alternatives, as an optional enum does.
fn flatten<'s>(shape: &'s Shape, parts: &'s [Value], into: &mut Vec<&'s Value>) {
    for part in parts {
        let part = shape.resolve(part);
        let inner = part.get("anyOf").or_else(|| part.get("oneOf")).and_then(Value::as_array);
        match inner {
            Some(_) if shape.describes_secret(part) => into.push(part),
            Some(inner) if part.get("type").is_none() && properties(part).is_none() => flatten(shape, inner, into),
            _ => into.push(part),
        }
    }
}
