//! Tools that the client runs itself.

use providers::{ToolChoice, ToolSpec};
use serde_json::{Value, json};

use crate::check::{Fields, Issues, expected};

/// Most tools of one request.
const TOOLS_MAX: usize = 128;
/// Longest name of a tool.
const NAME_BYTES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Tools {
    pub tools: Vec<ToolSpec>,
    pub tool_choice: ToolChoice,
    pub parallel_tool_calls: Option<bool>,
    /// They came as `functions`, the form before tools.
    pub names_functions: bool,
}

pub(crate) fn read(fields: &Fields<'_>, issues: &mut Issues) -> Tools {
    let items = fields.array("tools", issues).unwrap_or_default();
    let mut tools: Vec<ToolSpec> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(tool) = Fields::new(item, format!("tools.{index}"), issues) else { continue };
        if tool.get("type").and_then(Value::as_str) != Some("function") {
            issues.add(tool.at("type"), "Invalid input: expected \"function\"");
            continue;
        }
        if tool.get("function").is_none() {
            issues.add(tool.at("function"), expected("object", None));
        }
        tool.only(&["type", "function"], issues);
        tools.extend(tool.object("function", issues).and_then(|function| bare_spec(&function, issues)));
    }
    let names_functions = tools.is_empty() && fields.get("functions").is_some();
    for (index, item) in fields.array("functions", issues).unwrap_or_default().iter().enumerate() {
        let function = Fields::new(item, format!("functions.{index}"), issues);
        tools.extend(function.and_then(|function| bare_spec(&function, issues)));
    }
    let key = if names_functions { "function_call" } else { "tool_choice" };
    checked(fields, tools, key, issues)
}

/// The tools of a response, whose fields stand beside their type.
pub(crate) fn read_flat(fields: &Fields<'_>, issues: &mut Issues) -> Tools {
    let mut tools: Vec<ToolSpec> = Vec::new();
    for (index, item) in fields.array("tools", issues).unwrap_or_default().iter().enumerate() {
        let Some(tool) = Fields::new(item, format!("tools.{index}"), issues) else { continue };
        if tool.get("type").and_then(Value::as_str) != Some("function") {
            issues.add(tool.at("type"), "Invalid input: expected \"function\"");
            continue;
        }
        tool.only(&["type", "name", "description", "parameters", "strict"], issues);
        tools.extend(spec(&tool, issues));
    }
    checked(fields, tools, "tool_choice", issues)
}

fn checked(fields: &Fields<'_>, tools: Vec<ToolSpec>, key: &'static str, issues: &mut Issues) -> Tools {
    if tools.len() > TOOLS_MAX {
        issues.add("tools", format!("Too big: expected array to have <={TOOLS_MAX} items"));
    }
    let tool_choice = choice(fields, key, issues);
    if let ToolChoice::Named(name) = &tool_choice
        && !tools.iter().any(|tool| tool.name == *name)
    {
        issues.add(key, format!("names {name:?}, which is not among the tools"));
    }
    if tool_choice == ToolChoice::Required && tools.is_empty() {
        issues.add(key, "asks for a call, but there are no tools");
    }
    let parallel_tool_calls = fields.boolean("parallel_tool_calls", issues);
    Tools { tools, tool_choice, parallel_tool_calls, names_functions: key == "function_call" }
}

fn bare_spec(function: &Fields<'_>, issues: &mut Issues) -> Option<ToolSpec> {
    function.only(&["name", "description", "parameters", "strict"], issues);
    spec(function, issues)
}

fn spec(function: &Fields<'_>, issues: &mut Issues) -> Option<ToolSpec> {
    function.boolean("strict", issues);
    let description = function.string("description", issues).unwrap_or_default();
    let parameters = match function.get("parameters") {
        None => json!({ "type": "object", "properties": {} }),
        Some(schema) if schema.is_object() => schema.clone(),
        Some(other) => {
            issues.add(function.at("parameters"), expected("object", Some(other)));
            return None;
        }
    };
    let name = function.filled_string("name", issues)?;
    let is_legal =
        name.len() <= NAME_BYTES_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !is_legal {
        issues.add(function.at("name"), "Invalid string: must have 1 to 64 characters of a-z A-Z 0-9 _ -");
        return None;
    }
    Some(ToolSpec { name: name.to_owned(), description: description.to_owned(), parameters: parameters.into() })
}

fn choice(fields: &Fields<'_>, key: &str, issues: &mut Issues) -> ToolChoice {
    match fields.get(key) {
        None => ToolChoice::Auto,
        Some(Value::String(word)) if word == "auto" => ToolChoice::Auto,
        Some(Value::String(word)) if word == "none" => ToolChoice::None,
        Some(Value::String(word)) if word == "required" && key == "tool_choice" => ToolChoice::Required,
        // `{"type": "function", "function": {"name"}}`, or `{"name"}` in the form before tools.
        Some(value) => match value.pointer("/function/name").or_else(|| value.get("name")).and_then(Value::as_str) {
            Some(name) if value["type"].is_null() || value["type"] == "function" => ToolChoice::Named(name.to_owned()),
            _ => {
                issues.add(key, "Invalid input: expected \"none\", \"auto\", \"required\" or a named function");
                ToolChoice::Auto
            }
        },
    }
}
