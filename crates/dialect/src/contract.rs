//! Writers of the machine-readable contracts, fed by the tables themselves.

use model::{ErrorKind, Noun};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::table::{Method, MethodTable};

/// An OpenRPC document of a table of methods. `code` maps an error kind to the dialect's own code.
pub fn openrpc(
    title: &str,
    version: &str,
    description: &str,
    table: &MethodTable,
    code: impl Fn(ErrorKind) -> Value,
) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let methods: Vec<Value> = table
        .iter()
        .map(|method| {
            let params = (method.params_schema)(&mut generator);
            let result = (method.result_schema)(&mut generator);
            describe(method, &resolve(params.into(), generator.definitions()), result.into(), &code)
        })
        .collect();
    let schemas: Map<String, Value> = generator.take_definitions(true);
    json!({
        "openrpc": "1.3.2",
        "info": { "title": title, "version": version, "description": description, "license": { "name": "Apache-2.0 OR MIT" } },
        "methods": methods,
        "components": { "schemas": schemas },
    })
}

fn describe(method: &Method, params: &Value, result: Value, code: &impl Fn(ErrorKind) -> Value) -> Value {
    let docs = (method.docs)();
    let summary = docs.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let errors: Vec<Value> =
        method.errors.iter().map(|kind| json!({ "code": code(*kind), "message": words(*kind) })).collect();
    json!({
        "name": method.name,
        "summary": summary,
        "description": docs,
        "paramStructure": "by-name",
        "params": by_name(params),
        "result": { "name": "result", "schema": result },
        "errors": errors,
        "x-scope": method.scope.map(model::Scope::as_str),
    })
}

/// OpenRPC lists parameters one by one; our parameters are always one object.
fn by_name(schema: &Value) -> Vec<Value> {
    let required: Vec<&str> =
        schema["required"].as_array().map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    properties
        .iter()
        .map(|(name, schema)| json!({ "name": name, "required": required.contains(&name.as_str()), "schema": schema }))
        .collect()
}

fn resolve(schema: Value, definitions: &Map<String, Value>) -> Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    match name.and_then(|name| definitions.get(name)) {
        Some(definition) => definition.clone(),
        None => schema,
    }
}

/// What an error kind means, for a reader of the contract.
pub const fn words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidParams => "a parameter is missing, of the wrong type or out of its bounds",
        ErrorKind::NotFound(Noun::Agent) => "the agent does not exist",
        ErrorKind::NotFound(Noun::ConfigSection) => "the configuration section does not exist",
        ErrorKind::NotFound(Noun::Device) => "the device does not exist",
        ErrorKind::NotFound(Noun::Model) => "no configured provider has the model",
        ErrorKind::NotFound(Noun::Provider) => "the provider is not configured",
        ErrorKind::NotFound(Noun::Run) => "the run does not exist",
        ErrorKind::NotFound(Noun::Session) => "the session does not exist",
        ErrorKind::NotFound(Noun::Token) => "the token does not exist",
        ErrorKind::Unauthenticated => "no credentials, or unknown ones",
        ErrorKind::Denied => "the credentials do not reach that far",
        ErrorKind::Conflict => "the state does not allow it",
        ErrorKind::RateLimited => "too many calls; try again later",
        ErrorKind::Busy => "a bounded queue is full; try again shortly",
        ErrorKind::Timeout => "it took too long",
        ErrorKind::ToolFailed => "a tool or an engine failed",
        ErrorKind::ProviderFailed => "the model provider failed",
        ErrorKind::ProviderRefused => "the model provider does not take the request",
        ErrorKind::Unavailable => "temporarily unavailable; nothing was written",
        ErrorKind::Internal => "unexpected failure",
    }
}
