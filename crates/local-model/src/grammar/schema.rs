//! From JSON Schema to a [`Grammar`].

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::node::{ANY, ANY_ARRAY, ANY_MAP, ANY_NUMBER, Field, Grammar, Node, NodeId, free_json};
use super::number::{Bounds, NumberRule};

/// A schema with more parts than this is cut: what is left becomes "any JSON value".
const NODES_MAX: usize = 4096;
const FIELDS_MAX: usize = 256;
/// Nesting of schemas inside schemas while compiling.
const DEPTH_MAX: u8 = 48;

impl Grammar {
    /// Any JSON object.
    pub fn of_object() -> Self {
        Self::new(free_json(), ANY_MAP)
    }

    /// JSON that follows `schema`; what a schema says beyond the supported keywords is not looked at.
    pub fn of_schema(schema: &Value) -> Self {
        let mut compiler = Compiler::new(schema);
        let root = compiler.node(schema, 0);
        Self::new(compiler.nodes, root)
    }

    /// `{"name": NAME, "arguments": ARGUMENTS}` for one of the tools, each with the schema of its arguments.
    pub fn of_calls<'a>(tools: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Self {
        let mut nodes = free_json();
        let mut calls = Vec::new();
        for (name, schema) in tools {
            let mut compiler = Compiler { root: schema, nodes, references: HashMap::new() };
            let name = compiler.literals([&Value::from(name)]);
            let arguments = compiler.arguments(schema);
            let fields = vec![Field::new("name", name, true), Field::new("arguments", arguments, true)];
            calls.push(compiler.add(Node::Object(fields)));
            nodes = compiler.nodes;
        }
        nodes.push(Node::OneOf(calls));
        let root = NodeId::try_from(nodes.len() - 1).unwrap_or(ANY);
        Self::new(nodes, root)
    }
}

struct Compiler<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// Where a `$ref` leads; known before its target is compiled, so that a schema may contain itself.
    references: HashMap<String, NodeId>,
}

impl<'a> Compiler<'a> {
    fn new(root: &'a Value) -> Self {
        Self { root, nodes: free_json(), references: HashMap::new() }
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId::try_from(self.nodes.len() - 1).unwrap_or(ANY)
    }

    /// Arguments of a tool are always an object; a tool that declares none gets `{}`.
    fn arguments(&mut self, schema: &Value) -> NodeId {
        let declares = schema.as_object().is_some_and(|schema| {
            let parts = ["properties", "additionalProperties", "$ref", "anyOf", "oneOf", "allOf"];
            parts.iter().any(|part| schema.contains_key(*part))
        });
        if !declares {
            return self.add(Node::Object(Vec::new()));
        }
        let node = self.node(schema, 0);
        match self.nodes[node as usize] {
            Node::Any => ANY_MAP,
            _ => node,
        }
    }

    fn node(&mut self, schema: &Value, depth: u8) -> NodeId {
        let Value::Object(schema) = schema else { return ANY };
        if depth > DEPTH_MAX || self.nodes.len() > NODES_MAX {
            return ANY;
        }
        if let Some(Value::String(pointer)) = schema.get("$ref") {
            return self.reference(pointer, depth);
        }
        if let Some(value) = schema.get("const") {
            return self.literals([value]);
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            return self.literals(values);
        }
        if let Some(Value::Array(parts)) = schema.get("allOf") {
            let whole = self.all_of(schema, parts);
            return self.node(&whole, depth + 1);
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(alternatives)) = schema.get(key) {
                return self.alternatives(schema, key, alternatives, depth);
            }
        }
        self.typed(schema, depth)
    }

    fn reference(&mut self, pointer: &str, depth: u8) -> NodeId {
        if let Some(known) = self.references.get(pointer) {
            return *known;
        }
        let Some(target) = self.target(pointer) else { return ANY };
        let place = self.add(Node::OneOf(Vec::new()));
        self.references.insert(pointer.to_owned(), place);
        let node = self.node(target, depth + 1);
        self.nodes[place as usize] = Node::OneOf(vec![node]);
        place
    }

    fn target(&self, pointer: &str) -> Option<&'a Value> {
        self.root.pointer(pointer.strip_prefix('#')?)
    }

    fn literals<'v>(&mut self, values: impl IntoIterator<Item = &'v Value>) -> NodeId {
        let mut texts: Vec<Box<[u8]>> = values.into_iter().map(|value| value.to_string().into_bytes().into()).collect();
        texts.sort_unstable();
        texts.dedup();
        if texts.is_empty() { ANY } else { self.add(Node::Literals(texts)) }
    }

    /// One schema that asks for all parts; `$ref`s among them are followed one step.
    fn all_of(&self, schema: &Map<String, Value>, parts: &[Value]) -> Value {
        let mut whole = schema.clone();
        whole.remove("allOf");
        for part in parts {
            let referred = part.get("$ref").and_then(Value::as_str).and_then(|pointer| self.target(pointer));
            merge(&mut whole, referred.unwrap_or(part));
        }
        Value::Object(whole)
    }

    /// Keywords beside `anyOf` hold for each alternative.
    fn alternatives(&mut self, schema: &Map<String, Value>, key: &str, alternatives: &[Value], depth: u8) -> NodeId {
        let notes = [key, "description", "title", "default", "examples", "$defs", "definitions", "$schema", "$id"];
        let mut common = schema.clone();
        common.retain(|name, _| !notes.contains(&name.as_str()));
        let mut nodes = Vec::new();
        for alternative in alternatives {
            let mut whole = common.clone();
            merge(&mut whole, alternative);
            let alone = common.is_empty();
            nodes.push(if alone {
                self.node(alternative, depth + 1)
            } else {
                self.node(&Value::Object(whole), depth + 1)
            });
        }
        if nodes.is_empty() { ANY } else { self.add(Node::OneOf(nodes)) }
    }

    fn typed(&mut self, schema: &Map<String, Value>, depth: u8) -> NodeId {
        let mut nodes = Vec::new();
        match schema.get("type") {
            Some(Value::String(kind)) => nodes.push(self.of_type(kind, schema, depth)),
            Some(Value::Array(kinds)) => {
                for kind in kinds.iter().filter_map(Value::as_str) {
                    nodes.push(self.of_type(kind, schema, depth));
                }
            }
            _ => match implied_type(schema) {
                Some(kind) => nodes.push(self.of_type(kind, schema, depth)),
                None => return ANY,
            },
        }
        if schema.get("nullable") == Some(&Value::Bool(true)) {
            nodes.push(self.literals([&Value::Null]));
        }
        match nodes.as_slice() {
            [] => ANY,
            [single] => *single,
            _ => self.add(Node::OneOf(nodes)),
        }
    }

    fn of_type(&mut self, kind: &str, schema: &Map<String, Value>, depth: u8) -> NodeId {
        match kind {
            "null" => self.literals([&Value::Null]),
            "boolean" => self.literals([&Value::Bool(false), &Value::Bool(true)]),
            "string" => self.text(schema),
            "integer" => match NumberRule::integer(bounds(schema)) {
                Some(rule) => self.add(Node::Number(rule)),
                None => ANY,
            },
            "number" => self.number(schema),
            "array" => self.array(schema, depth),
            "object" => self.object(schema, depth),
            _ => ANY,
        }
    }

    fn text(&mut self, schema: &Map<String, Value>) -> NodeId {
        let min = length(schema, "minLength").unwrap_or(0);
        let max = length(schema, "maxLength");
        if max.is_some_and(|max| max < min) {
            return ANY;
        }
        self.add(Node::Text { min, max })
    }

    fn number(&mut self, schema: &Map<String, Value>) -> NodeId {
        let bounds = bounds(schema);
        if let Some(rule) = NumberRule::number(bounds) {
            return self.add(Node::Number(rule));
        }
        match bounds.middle() {
            Some(middle) => self.literals([&Value::from(middle)]),
            None => ANY_NUMBER,
        }
    }

    fn array(&mut self, schema: &Map<String, Value>, depth: u8) -> NodeId {
        if schema.contains_key("prefixItems") || schema.get("items").is_some_and(Value::is_array) {
            return ANY_ARRAY;
        }
        let items = schema.get("items").map_or(ANY, |items| self.node(items, depth + 1));
        let min = length(schema, "minItems").unwrap_or(0);
        let max = length(schema, "maxItems");
        if max.is_some_and(|max| max < min) {
            return ANY_ARRAY;
        }
        self.add(Node::Array { items, min, max })
    }

    fn object(&mut self, schema: &Map<String, Value>, depth: u8) -> NodeId {
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let properties = schema.get("properties").and_then(Value::as_object);
        let named = properties.into_iter().flatten();
        if required.is_empty() && properties.is_none_or(Map::is_empty) {
            return match schema.get("additionalProperties") {
                Some(Value::Bool(false)) => self.add(Node::Object(Vec::new())),
                Some(values @ Value::Object(_)) => {
                    let value = self.node(values, depth + 1);
                    self.add(Node::Map { value })
                }
                _ => ANY_MAP,
            };
        }
        let mut fields = Vec::new();
        for name in &required {
            let schema = properties.and_then(|properties| properties.get(*name));
            let value = schema.map_or(ANY, |schema| self.node(schema, depth + 1));
            fields.push(Field::new(name, value, true));
        }
        for (name, schema) in named.filter(|(name, _)| !required.contains(&name.as_str())) {
            if fields.len() < FIELDS_MAX && *schema != Value::Bool(false) {
                let value = self.node(schema, depth + 1);
                fields.push(Field::new(name, value, false));
            }
        }
        self.add(Node::Object(fields))
    }
}

fn implied_type(schema: &Map<String, Value>) -> Option<&'static str> {
    let has = |keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
    if has(&["properties", "required", "additionalProperties"]) {
        return Some("object");
    }
    if has(&["items", "minItems", "maxItems"]) {
        return Some("array");
    }
    if has(&["minLength", "maxLength", "pattern", "format"]) {
        return Some("string");
    }
    has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]).then_some("number")
}

/// Adds what `part` asks for: properties and required names are united, everything else is taken over.
fn merge(whole: &mut Map<String, Value>, part: &Value) {
    let Value::Object(part) = part else { return };
    for (key, value) in part {
        match (whole.get_mut(key), value) {
            (Some(Value::Object(before)), Value::Object(more)) if key == "properties" => {
                before.extend(more.iter().map(|(name, schema)| (name.clone(), schema.clone())));
            }
            (Some(Value::Array(before)), Value::Array(more)) if key == "required" => {
                for name in more {
                    if !before.contains(name) {
                        before.push(name.clone());
                    }
                }
            }
            _ => {
                whole.insert(key.clone(), value.clone());
            }
        }
    }
}

fn length(schema: &Map<String, Value>, key: &str) -> Option<u32> {
    let value = schema.get(key)?.as_f64()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped first")]
    Some(value.clamp(0.0, f64::from(u32::MAX)) as u32)
}

/// The bounds, with draft 4's boolean `exclusiveMinimum` read as well.
fn bounds(schema: &Map<String, Value>) -> Bounds {
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let flag = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    let (minimum, maximum) = (number("minimum"), number("maximum"));
    Bounds {
        minimum,
        maximum,
        exclusive_minimum: if flag("exclusiveMinimum") { minimum } else { number("exclusiveMinimum") },
        exclusive_maximum: if flag("exclusiveMaximum") { maximum } else { number("exclusiveMaximum") },
    }
}
