//! The JSON Schema of a root struct, closed against unknown keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// What `$id` says; a name, not an address.
const ID: &str = "urn:patchbay:config";
const TITLE: &str = "Patchbay configuration";

/// Definitions by the reference that names them.
type Definitions = BTreeMap<String, Value>;

/// JSON Schema 2020-12 of `T`: descriptions are the doc comments, defaults are the serde defaults,
/// and every object that is not a map by nature refuses unknown keys.
pub fn schema<T: JsonSchema>() -> Value {
    let mut root = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    let definitions = definitions(&root);
    close(&mut root, &definitions, false);
    if let Some(root) = root.as_object_mut() {
        root.insert("$id".to_owned(), json!(ID));
        let named_by_type = root.get("title").is_none_or(|title| title == T::schema_name().as_ref());
        if named_by_type {
            root.insert("title".to_owned(), json!(TITLE));
        }
    }
    root
}

fn definitions(root: &Value) -> Definitions {
    let listed = root.get("$defs").and_then(Value::as_object).into_iter().flatten();
    listed.map(|(name, schema)| (format!("#/$defs/{name}"), schema.clone())).collect()
}

/// Closes `node` and what is below it. `part` says that the node is one of several that describe
/// the same object together; then only the whole can be closed.
fn close(node: &mut Value, definitions: &Definitions, part: bool) {
    let Some(object) = node.as_object_mut() else { return };
    if object.contains_key("$ref") && (part || object.contains_key("properties")) {
        inline(object, definitions);
    }
    let parts = ["allOf", "anyOf", "oneOf"];
    let composed = parts.iter().any(|name| object.contains_key(*name));
    let has_properties = object.contains_key("properties");
    let open = !["additionalProperties", "unevaluatedProperties", "patternProperties", "$ref"]
        .iter()
        .any(|name| object.contains_key(*name));
    if part {
        if object.get("additionalProperties") == Some(&Value::Bool(false)) {
            object.remove("additionalProperties");
        }
    } else if open && has_properties && composed {
        object.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
    } else if open && !composed && (has_properties || object.get("type") == Some(&json!("object"))) {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    close_children(object, definitions, part || has_properties);
}

fn close_children(object: &mut Map<String, Value>, definitions: &Definitions, parts_of_one: bool) {
    for (name, child) in object.iter_mut() {
        match (name.as_str(), child) {
            ("properties" | "patternProperties" | "$defs", Value::Object(children)) => {
                children.values_mut().for_each(|child| close(child, definitions, false));
            }
            ("prefixItems", Value::Array(children)) => {
                children.iter_mut().for_each(|child| close(child, definitions, false));
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(children)) => {
                children.iter_mut().for_each(|child| close(child, definitions, parts_of_one));
            }
            ("items" | "additionalProperties", child) => close(child, definitions, false),
            _ => {}
        }
    }
}

/// Puts the definition in the place of the reference. A reference beside `properties` (a tagged
/// variant that wraps a struct) could not be closed otherwise: each half would refuse the other's keys.
fn inline(object: &mut Map<String, Value>, definitions: &Definitions) {
    let target = object.get("$ref").and_then(Value::as_str).and_then(|name| definitions.get(name));
    let Some(Value::Object(target)) = target.cloned() else { return };
    object.remove("$ref");
    for (name, theirs) in target {
        match (object.get_mut(&name), theirs) {
            (None, theirs) => {
                object.insert(name, theirs);
            }
            (Some(Value::Object(ours)), Value::Object(theirs)) if name == "properties" => {
                theirs.into_iter().for_each(|(key, schema)| {
                    ours.entry(key).or_insert(schema);
                });
            }
            (Some(Value::Array(ours)), Value::Array(theirs)) if name == "required" => {
                ours.extend(theirs);
            }
            // What stands at the place of use is the more specific text.
            (Some(_), _) => {}
        }
    }
}
