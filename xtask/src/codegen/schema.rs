//! JSON Schema as the generators read it: references, definitions, fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One field of an object, or one parameter of a call.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub name: &'a str,
    pub schema: &'a Value,
    pub is_required: bool,
}

/// The named schemas of a document, wherever it keeps them.
pub struct Definitions<'a> {
    by_name: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Definitions<'a> {
    /// Collects `components.schemas` and every `$defs` and `definitions` in the document.
    pub fn of(document: &'a Value) -> Self {
        let mut by_name = BTreeMap::new();
        if let Some(schemas) = document.pointer("/components/schemas").and_then(Value::as_object) {
            by_name.extend(schemas.iter().map(|(name, schema)| (name.as_str(), schema)));
        }
        collect(document, &mut by_name);
        Self { by_name }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.by_name.iter().map(|(name, schema)| (*name, *schema))
    }

    /// The schema behind a `$ref`, itself when it is none.
    pub fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // A chain of references is short; the bound only guards against a loop.
        for _ in 0..16 {
            match reference(schema).and_then(|name| self.by_name.get(name)) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    /// The fields of an object schema, those of its `allOf` parts included.
    pub fn fields(&self, schema: &'a Value) -> Vec<Field<'a>> {
        let schema = self.resolve(schema);
        let mut fields = own_fields(schema);
        for part in list(schema, "allOf") {
            fields.extend(self.fields(part));
        }
        fields
    }
}

fn collect<'a>(value: &'a Value, by_name: &mut BTreeMap<&'a str, &'a Value>) {
    match value {
        Value::Object(object) => {
            for key in ["$defs", "definitions"] {
                if let Some(definitions) = object.get(key).and_then(Value::as_object) {
                    by_name.extend(definitions.iter().map(|(name, schema)| (name.as_str(), schema)));
                }
            }
            object.values().for_each(|value| collect(value, by_name));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, by_name)),
        _ => {}
    }
}

fn own_fields(schema: &Value) -> Vec<Field<'_>> {
    let required: Vec<&str> = list(schema, "required").iter().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| Field { name, schema, is_required: required.contains(&name.as_str()) })
        .collect()
}

/// The last part of a `$ref`.
pub fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// An array member, or nothing.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An object member, or nothing.
pub fn object<'a>(value: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    value.get(key)?.as_object()
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `summary` and `description` as one text.
pub fn description(value: &Value) -> String {
    let (summary, description) = (text(value, "summary").trim(), text(value, "description").trim());
    match (summary, description) {
        (summary, "") => summary.to_owned(),
        (summary, description) if summary.is_empty() || description.starts_with(summary) => description.to_owned(),
        (summary, description) => format!("{summary}\n\n{description}"),
    }
}

/// The first sentence of a text, on one line.
pub fn first_sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    match paragraph.find(". ") {
        Some(end) => paragraph[..=end].to_owned(),
        None => paragraph,
    }
}

/// The types that `type` names, as a list.
pub fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn definitions_are_found_wherever_they_are() {
        let document = json!({
            "components": { "schemas": { "A": { "$ref": "#/components/schemas/B" }, "B": { "type": "string" } } },
            "methods": [{ "result": { "schema": { "$defs": { "C": { "type": "null" } } } } }],
        });
        let definitions = Definitions::of(&document);
        assert_eq!(definitions.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["A", "B", "C"]);
        let schema = json!({ "$ref": "#/$defs/A" });
        assert_eq!(definitions.resolve(&schema), &json!({ "type": "string" }));
    }

    #[test]
    fn fields_know_what_is_required() {
        let document = json!({ "$defs": { "Base": { "properties": { "id": {} }, "required": ["id"] } } });
        let definitions = Definitions::of(&document);
        let schema = json!({ "properties": { "name": {} }, "allOf": [{ "$ref": "#/$defs/Base" }] });
        let fields: Vec<(&str, bool)> = definitions.fields(&schema).iter().map(|f| (f.name, f.is_required)).collect();
        assert_eq!(fields, [("name", false), ("id", true)]);
    }

    #[test]
    fn texts_are_shortened_to_a_sentence() {
        assert_eq!(first_sentence("Pause a job. Past\nruns stay.\n\nMore."), "Pause a job.");
        assert_eq!(first_sentence("Pause\na job"), "Pause a job");
    }
}
