//! Arguments of tool calls: from Rust type to schema, and from the model's text to a checked value.

use std::sync::{Arc, OnceLock};

use boon::{CompileError, Compiler, SchemaIndex, Schemas, ValidationError};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::context::ToolContext;
use crate::tool::{Tool, ToolError, ToolOutput};

/// Faults of one call that the model is told; more would only cost tokens.
const FAULTS_MAX: usize = 5;

/// Name under which the validator keeps the one schema it has.
const SCHEMA_NAME: &str = "schema:arguments";

/// The schema of `T` as models get it: no `$schema`, no titles, no Rust number formats, nothing by reference.
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
        settings.transforms.push(Box::new(schemars::transform::RecursiveTransform(drop_noise)));
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        // The type's own doc comment is for readers of the code; the tool has a description.
        object.remove("description");
        object.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    }
    schema
}

fn drop_noise(schema: &mut Schema) {
    schema.remove("title");
    schema.remove("format");
}

/// Arguments that passed their schema, as the type the schema was made from.
pub fn typed<T: DeserializeOwned>(arguments: Value) -> Result<T, ToolError> {
    serde_json::from_value(arguments).map_err(|error| ToolError::Invalid(format!("the arguments do not fit: {error}")))
}

/// A tool with its schema compiled: the only way in which model output should reach a tool.
#[derive(Clone)]
pub struct CheckedTool {
    tool: Arc<dyn Tool>,
    parameters: Arc<Value>,
    /// Characters of the parameters as text.
    parameter_chars: usize,
    compiled: Arc<OnceLock<Compiled>>,
}

type Compiled = (Schemas, SchemaIndex);

impl CheckedTool {
    /// Fails when the tool's parameters are not a JSON Schema; the message names the tool.
    pub fn new(tool: Arc<dyn Tool>) -> Result<Self, String> {
        let checked = Self::trusted(tool);
        let compiled = compile(&checked.parameters);
        let compiled = compiled
            .map_err(|error| format!("the parameters of `{}` are not a JSON Schema: {error}", checked.tool.name()))?;
        checked.compiled.get_or_init(|| compiled);
        Ok(checked)
    }

    /// One of our own tools: its schema is compiled with its first call, since most starts never need it.
    pub(crate) fn trusted(tool: Arc<dyn Tool>) -> Self {
        let parameters = tool.parameters();
        let parameter_chars = parameters.to_string().chars().count();
        Self { tool, parameters: Arc::new(parameters), parameter_chars, compiled: Arc::default() }
    }

    /// How much of the model's context describing the tool takes, in characters.
    pub fn chars(&self) -> usize {
        self.tool.name().len() + self.tool.description().len() + self.parameter_chars
    }

    /// What [`Tool::parameters`] gave.
    pub fn parameters(&self) -> &Arc<Value> {
        &self.parameters
    }

    pub fn tool(&self) -> &Arc<dyn Tool> {
        &self.tool
    }

    /// Reads what the model wrote. No text at all counts as `{}`: some vendors send that for a call
    /// without arguments.
    pub fn arguments(&self, text: &str) -> Result<Value, ToolError> {
        let text = if text.trim().is_empty() { "{}" } else { text };
        let value: Value = serde_json::from_str(text).map_err(|error| {
            ToolError::Invalid(format!("the arguments of `{}` are not JSON: {error}", self.tool.name()))
        })?;
        let (schemas, index) = self.compiled.get_or_init(|| {
            compile(&self.parameters).expect("the parameters of our own tools are schemas: a test compiles each")
        });
        match schemas.validate(&value, *index) {
            Ok(()) => Ok(value),
            Err(error) => {
                let mut faults = Vec::new();
                collect_faults(&error, &mut faults);
                faults.truncate(FAULTS_MAX);
                let name = self.tool.name();
                Err(ToolError::Invalid(format!("the arguments of `{name}` do not fit: {}", faults.join("; "))))
            }
        }
    }

    /// Checks, then calls.
    pub async fn call(&self, context: &ToolContext, text: &str) -> Result<ToolOutput, ToolError> {
        let arguments = self.arguments(text)?;
        self.tool.call(context, arguments).await
    }
}

fn compile(parameters: &Value) -> Result<Compiled, CompileError> {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.add_resource(SCHEMA_NAME, parameters.clone())?;
    let index = compiler.compile(SCHEMA_NAME, &mut schemas)?;
    Ok((schemas, index))
}

/// The innermost reasons: the outer ones only say that something inside does not fit.
fn collect_faults(error: &ValidationError<'_, '_>, faults: &mut Vec<String>) {
    if error.causes.is_empty() {
        let place = error.instance_location.to_string();
        let field = place.trim_start_matches('/').replace('/', ".");
        faults.push(if field.is_empty() { error.kind.to_string() } else { format!("`{field}`: {}", error.kind) });
    }
    for cause in &error.causes {
        collect_faults(cause, faults);
    }
}

#[cfg(test)]
mod tests;
