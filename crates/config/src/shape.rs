//! Asking the JSON Schema: what may stand at a path, which keys are known there and elsewhere.

use model::Secret;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::path::{Path, Segment};
use crate::redact::is_secret_name;
use crate::root::Root;

/// Longer chains of references than any schema has; a cycle ends here.
const REFERENCES_MAX: usize = 16;

/// How deep known keys are searched for hints.
const SEARCH_DEPTH_MAX: usize = 6;

pub(crate) struct Shape {
    root: Value,
    /// How the schema of [`Secret`] is told from others.
    secret: Value,
}

impl Shape {
    pub fn of<T: Root>() -> Shape {
        let carried = T::schema_text().and_then(|text| serde_json::from_str(text).ok());
        let root = carried.unwrap_or_else(crate::schema::schema::<T>);
        let secret = Secret::json_schema(&mut SchemaGenerator::default()).to_value();
        Shape { root, secret: secret.get("anyOf").cloned().unwrap_or(Value::Null) }
    }

    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Follows references to the schema that says something.
    pub fn resolve<'s>(&'s self, node: &'s Value) -> &'s Value {
        let mut node = node;
        for _ in 0..REFERENCES_MAX {
            let Some(target) = node.get("$ref").and_then(Value::as_str) else { return node };
            let name = target.strip_prefix("#/$defs/").unwrap_or_default();
            match self.root.get("$defs").and_then(|all| all.get(name)) {
                Some(found) => node = found,
                None => return node,
            }
        }
        node
    }

    /// The node and every alternative or part of it.
    fn expand<'s>(&'s self, node: &'s Value, into: &mut Vec<&'s Value>) {
        let node = self.resolve(node);
        if into.iter().any(|seen| std::ptr::eq(*seen, node)) {
            return;
        }
        into.push(node);
        for name in ["allOf", "anyOf", "oneOf"] {
            node.get(name).and_then(Value::as_array).into_iter().flatten().for_each(|part| self.expand(part, into));
        }
    }

    /// Every schema that could describe the value at `path`; none when the path is not known.
    pub fn nodes_at<'s>(&'s self, path: &Path) -> Vec<&'s Value> {
        let mut nodes = Vec::new();
        self.expand(&self.root, &mut nodes);
        for segment in path.segments() {
            let mut below = Vec::new();
            for node in &nodes {
                for child in children(node, segment) {
                    self.expand(child, &mut below);
                }
            }
            nodes = below;
        }
        nodes
    }

    /// Whether a text may stand at `path`.
    pub fn accepts_string(&self, path: &Path) -> bool {
        self.nodes_at(path).iter().any(|node| says_type(node, "string") || says_nothing(node))
    }

    /// Whether a value of this type may stand at `path`; its content is not looked at.
    pub fn accepts_type_of(&self, path: &Path, value: &Value) -> bool {
        self.nodes_at(path)
            .iter()
            .any(|node| says_nothing(node) || type_names(value).iter().any(|t| says_type(node, t)))
    }

    /// Whether what stands at `path` must never be shown: by its type, or by its name when it is a text.
    pub fn is_secret(&self, path: &Path, value: &Value) -> bool {
        let named = path.last_key().is_some_and(is_secret_name);
        let text_expected = || value.is_string() || value.is_object() || self.accepts_string(path);
        (named && text_expected()) || self.nodes_at(path).into_iter().any(|node| self.describes_secret(node))
    }

    /// Whether the node is the schema of [`Secret`]. When it is asked, references have been followed
    /// and only a text can stand there.
    pub fn describes_secret(&self, node: &Value) -> bool {
        node.get("anyOf") == Some(&self.secret)
    }

    /// The keys that have a name of their own at `path`.
    pub fn known_keys(&self, path: &Path) -> Vec<&str> {
        names_of(self.nodes_at(path))
    }

    /// The keys that `node` and its alternatives name.
    pub fn known_keys_of<'s>(&'s self, node: &'s Value) -> Vec<&'s str> {
        let mut nodes = Vec::new();
        self.expand(node, &mut nodes);
        names_of(nodes)
    }

    /// Where in the whole configuration a key for which `wanted` holds is known, nearest to the root
    /// first: `listen[].port`, `providers.<name>.base_url`.
    pub fn places_of(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut places = Vec::new();
        let mut level = vec![(String::new(), &self.root)];
        for _ in 0..SEARCH_DEPTH_MAX {
            let mut below = Vec::new();
            for (prefix, node) in level {
                let mut nodes = Vec::new();
                self.expand(node, &mut nodes);
                nodes.into_iter().for_each(|node| search(node, &prefix, wanted, &mut places, &mut below));
            }
            level = below;
        }
        let mut seen = std::collections::HashSet::new();
        places.retain(|place| seen.insert(place.clone()));
        places
    }

    /// The property whose fixed text tells the alternatives at `nodes` apart, like `kind`.
    pub fn tag<'s>(&'s self, nodes: &[&'s Value]) -> Option<&'s str> {
        let first = properties(nodes.first()?)?;
        first.keys().map(String::as_str).find(|key| nodes.iter().all(|node| self.tag_word(node, key).is_some()))
    }

    /// The one text that `key` must have in this alternative, when it is fixed.
    pub fn tag_word<'s>(&'s self, node: &'s Value, key: &str) -> Option<&'s str> {
        let property = self.resolve(properties(node)?.get(key)?);
        match literals(property)?.as_slice() {
            [Value::String(word)] => Some(word),
            _ => None,
        }
    }
}

fn names_of(nodes: Vec<&Value>) -> Vec<&str> {
    let mut keys: Vec<&str> =
        nodes.into_iter().filter_map(properties).flat_map(Map::keys).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The values a node is fixed to, when it is.
pub(crate) fn literals(node: &Value) -> Option<Vec<&Value>> {
    match (node.get("const"), node.get("enum").and_then(Value::as_array)) {
        (Some(one), _) => Some(vec![one]),
        (None, Some(many)) => Some(many.iter().collect()),
        (None, None) => None,
    }
}

pub(crate) fn properties(node: &Value) -> Option<&Map<String, Value>> {
    node.get("properties").and_then(Value::as_object)
}

fn children<'s>(node: &'s Value, segment: &Segment) -> Vec<&'s Value> {
    match segment {
        Segment::Key(key) => match properties(node).and_then(|known| known.get(key)) {
            Some(child) => vec![child],
            None => {
                let by_pattern = node.get("patternProperties").and_then(Value::as_object);
                let others = node.get("additionalProperties").filter(|others| **others != Value::Bool(false));
                by_pattern.into_iter().flat_map(Map::values).chain(others).collect()
            }
        },
        Segment::Index(index) => match node.get("prefixItems").and_then(|items| items.get(index)) {
            Some(child) => vec![child],
            None => node.get("items").into_iter().collect(),
        },
    }
}

fn search<'s>(
    node: &'s Value,
    prefix: &str,
    wanted: &dyn Fn(&str) -> bool,
    places: &mut Vec<String>,
    below: &mut Vec<(String, &'s Value)>,
) {
    let dot = if prefix.is_empty() { "" } else { "." };
    for (key, child) in properties(node).into_iter().flatten() {
        let place = format!("{prefix}{dot}{key}");
        if wanted(key) {
            places.push(place.clone());
        }
        below.push((place, child));
    }
    if let Some(others) = node.get("additionalProperties").filter(|others| others.is_object()) {
        below.push((format!("{prefix}{dot}<name>"), others));
    }
    if let Some(items) = node.get("items").filter(|items| items.is_object()) {
        below.push((format!("{prefix}[]"), items));
    }
}

/// The names JSON Schema has for the type of a value.
pub(crate) fn type_names(value: &Value) -> &'static [&'static str] {
    match value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Number(number) if number.is_f64() => &["number"],
        Value::Number(_) => &["integer", "number"],
        Value::String(_) => &["string"],
        Value::Array(_) => &["array"],
        Value::Object(_) => &["object"],
    }
}

/// Whether the node names `wanted` among its types, by word or by its fixed values.
pub(crate) fn says_type(node: &Value, wanted: &str) -> bool {
    match node.get("type") {
        Some(Value::String(name)) => name == wanted,
        Some(Value::Array(names)) => names.iter().any(|name| name == wanted),
        _ => match literals(node) {
            Some(values) => values.iter().any(|value| type_names(value).contains(&wanted)),
            None => wanted == "object" && node.get("properties").is_some(),
        },
    }
}

/// Whether the node leaves everything open, as the schema of "any JSON value" does.
fn says_nothing(node: &Value) -> bool {
    const SAYING: [&str; 9] = ["type", "const", "enum", "properties", "items", "allOf", "anyOf", "oneOf", "$ref"];
    match node {
        Value::Bool(open) => *open,
        node => SAYING.iter().all(|name| node.get(name).is_none()),
    }
}
