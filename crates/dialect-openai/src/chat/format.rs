//! The form that an answer shall have, and keeping an answer to it where its model cannot.

use std::error::Error;
use std::sync::Arc;

use boon::{CompileError, Compiler, SchemaIndex, Schemas, UrlLoader};
use providers::ResponseFormat;
use serde_json::Value;

use crate::check::{Fields, Issues, expected, one_of};

/// Name under which the validator keeps the one schema it has.
const SCHEMA_NAME: &str = "schema:answer";
/// Longest name of a schema.
const NAME_BYTES_MAX: usize = 64;

/// A form other than plain text.
#[derive(Clone)]
pub(crate) struct Format {
    pub wire: ResponseFormat,
    compiled: Option<Arc<(Schemas, SchemaIndex)>>,
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Format").field(&self.wire).finish()
    }
}

impl Format {
    /// `None` for plain text.
    pub fn read(fields: &Fields<'_>, issues: &mut Issues) -> Option<Self> {
        let words = ["text", "json_object", "json_schema"];
        let word = fields.get("type").and_then(Value::as_str).filter(|word| words.contains(word));
        let Some(word) = word else {
            issues.add(fields.at("type"), one_of(&words));
            return None;
        };
        match word {
            "text" => None,
            "json_object" => Some(Self { wire: ResponseFormat::JsonObject, compiled: None }),
            _ => {
                if fields.get("json_schema").is_none() {
                    issues.add(fields.at("json_schema"), expected("object", None));
                }
                let named = fields.object("json_schema", issues)?;
                named.only(&["name", "description", "schema", "strict"], issues);
                Self::of_schema(&named, issues)
            }
        }
    }

    /// The same where the schema's fields stand beside the type, as responses have them.
    pub fn read_flat(fields: &Fields<'_>, issues: &mut Issues) -> Option<Self> {
        if fields.get("type").and_then(Value::as_str) != Some("json_schema") {
            return Self::read(fields, issues);
        }
        fields.only(&["type", "name", "description", "schema", "strict"], issues);
        Self::of_schema(fields, issues)
    }

    fn of_schema(fields: &Fields<'_>, issues: &mut Issues) -> Option<Self> {
        fields.string("description", issues);
        let strict = fields.boolean("strict", issues).unwrap_or(false);
        let name = fields.filled_string("name", issues);
        let is_legal = |name: &str| {
            name.len() <= NAME_BYTES_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        if name.is_some_and(|name| !is_legal(name)) {
            issues.add(fields.at("name"), "Invalid string: must have 1 to 64 characters of a-z A-Z 0-9 _ -");
        }
        let schema = match fields.get("schema") {
            None => Value::Object(serde_json::Map::new()),
            Some(schema @ Value::Object(_)) => schema.clone(),
            Some(other) => {
                issues.add(fields.at("schema"), expected("object", Some(other)));
                return None;
            }
        };
        match compile(schema.clone()) {
            Ok(compiled) => Some(Self {
                wire: ResponseFormat::JsonSchema { name: name?.to_owned(), schema, strict },
                compiled: Some(Arc::new(compiled)),
            }),
            Err(error) => {
                issues.add(fields.at("schema"), format!("is not a JSON Schema: {error}"));
                None
            }
        }
    }

    /// What a model is told that knows no such form itself.
    pub fn words(&self) -> String {
        let only = "Answer with JSON alone: no other words before or after it, and no code fence.";
        match &self.wire {
            ResponseFormat::JsonObject => format!("{only} The JSON is one object."),
            ResponseFormat::JsonSchema { schema, .. } => format!("{only} It must fit this JSON Schema:\n{schema}"),
        }
    }

    /// The JSON in an answer of a model that was only told; `None` when there is none, or not of the form.
    pub fn enforced(&self, answer: &str) -> Option<String> {
        let text = unfenced(answer.trim());
        let value: Value = serde_json::from_str(text).ok()?;
        let fits = match &self.compiled {
            Some(compiled) => compiled.0.validate(&value, compiled.1).is_ok(),
            None => value.is_object(),
        };
        fits.then(|| text.to_owned())
    }
}

/// Models like to put JSON between fences whatever they are told.
fn unfenced(text: &str) -> &str {
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(text, |inner| inner.strip_prefix("json").unwrap_or(inner).trim())
}

/// Refuses every reference to another document: a schema of a client must not make us read files.
struct NoOtherDocument;

impl UrlLoader for NoOtherDocument {
    fn load(&self, url: &str) -> Result<Value, Box<dyn Error>> {
        Err(format!("`{url}` is another document").into())
    }
}

fn compile(schema: Value) -> Result<(Schemas, SchemaIndex), String> {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.use_loader(Box::new(NoOtherDocument));
    let words = |error: CompileError| error.to_string();
    compiler.add_resource(SCHEMA_NAME, schema).map_err(words)?;
    let index = compiler.compile(SCHEMA_NAME, &mut schemas).map_err(words)?;
    Ok((schemas, index))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Option<Format>, String> {
        let mut issues = Issues::default();
        let fields = Fields::new(value, "response_format", &mut issues).unwrap();
        let format = Format::read(&fields, &mut issues);
        issues.result().map(|()| format).map_err(|error| error.message)
    }

    #[test]
    fn an_answer_is_kept_to_its_schema() {
        let schema = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } });
        let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema, "strict": true } });
        let format = read(&format).unwrap().unwrap();
        assert_eq!(format.enforced("```json\n{\"a\": 1}\n```").as_deref(), Some("{\"a\": 1}"));
        assert_eq!(format.enforced(" {\"a\":2} ").as_deref(), Some("{\"a\":2}"));
        assert_eq!(format.enforced("{\"a\":\"2\"}"), None);
        assert_eq!(format.enforced("The answer is {\"a\":2}"), None);
        assert!(format.words().contains("\"required\":[\"a\"]"));
    }

    #[test]
    fn a_bare_object_is_any_object() {
        let format = read(&json!({ "type": "json_object" })).unwrap().unwrap();
        assert_eq!(format.enforced("{}").as_deref(), Some("{}"));
        assert_eq!(format.enforced("[]"), None);
        assert!(read(&json!({ "type": "text" })).unwrap().is_none());
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        let of = |schema: Value| {
            read(&json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } })).unwrap_err()
        };
        assert!(
            of(json!({ "type": "nothing" }))
                .starts_with("Invalid request: response_format.json_schema.schema: is not a JSON Schema")
        );
        assert!(of(json!({ "$ref": "file:///etc/hostname" })).contains("is not a JSON Schema"));
        assert!(of(json!(7)).ends_with("expected object, received number"));
        let message = read(&json!({ "type": "yaml" })).unwrap_err();
        assert_eq!(
            message,
            "Invalid request: response_format.type: Invalid option: expected one of \"text\"|\"json_object\"|\"json_schema\""
        );
        assert!(read(&json!({ "type": "json_schema" })).is_err());
        assert!(read(&json!({ "type": "json_schema", "json_schema": { "name": "a b" } })).is_err());
    }
}
