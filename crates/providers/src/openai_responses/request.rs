//! The body of a responses call: the conversation as a list of items.

use model::{Content, NewMessage, Part, Role, Thinking};
use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, ResponseFormat, ToolChoice, ToolSpec};
use crate::effort::effort;
use crate::parts::{data_url, decimal, file_text, left_out, parts, split_system};

pub(super) fn body(request: &ChatRequest, thinks: bool) -> Value {
    let (system, conversation) = split_system(request);
    let mut body = Map::new();
    body.insert("model".into(), request.model.as_str().into());
    body.insert("input".into(), conversation.iter().flat_map(items).collect());
    body.insert("stream".into(), true.into());
    body.insert("store".into(), false.into());
    if let Some(system) = system {
        body.insert("instructions".into(), system.into());
    }
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
        if let Some(choice) = tool_choice(&request.tool_choice) {
            body.insert("tool_choice".into(), choice);
        }
        if let Some(parallel) = request.parallel_tool_calls {
            body.insert("parallel_tool_calls".into(), parallel.into());
        }
    }
    if thinks {
        body.insert("include".into(), json!(["reasoning.encrypted_content"]));
        if let Some(reasoning) = reasoning(request) {
            body.insert("reasoning".into(), reasoning);
        }
    }
    let sampling = &request.sampling;
    let numbers = [
        ("temperature", sampling.temperature.map(decimal)),
        ("top_p", sampling.top_p.map(decimal)),
        ("max_output_tokens", sampling.max_output_tokens.map(Value::from)),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            body.insert(key.into(), value);
        }
    }
    match &request.response_format {
        None => {}
        Some(ResponseFormat::JsonObject) => {
            body.insert("text".into(), json!({ "format": { "type": "json_object" } }));
        }
        Some(ResponseFormat::JsonSchema { name, schema, strict }) => {
            let format = json!({ "type": "json_schema", "name": name, "schema": schema, "strict": strict });
            body.insert("text".into(), json!({ "format": format }));
        }
    }
    body.extend(request.extra.clone());
    body.into()
}

fn reasoning(request: &ChatRequest) -> Option<Value> {
    let thinking = request.thinking?;
    let effort = effort(&request.model, thinking);
    match (effort, thinking) {
        (None, _) => None,
        (Some(effort), Thinking::Off) => Some(json!({ "effort": effort })),
        (Some(effort), _) => Some(json!({ "effort": effort, "summary": "auto" })),
    }
}

fn tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": &*tool.parameters,
        // Strict schemas are a subset that tools written for all vendors do not keep to.
        "strict": false,
    })
}

fn tool_choice(choice: &ToolChoice) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some("none".into()),
        ToolChoice::Required => Some("required".into()),
        ToolChoice::Named(name) => Some(json!({ "type": "function", "name": name })),
    }
}

/// The items that one message makes, in the order in which the model made them.
fn items(message: &NewMessage) -> Vec<Value> {
    match message.role {
        Role::System => vec![json!({ "role": "developer", "content": message.content.text() })],
        Role::User => vec![json!({ "role": "user", "content": content(&message.content) })],
        Role::Assistant => assistant(message),
        Role::Tool => {
            let id = message.tool_call_id.as_deref().unwrap_or_default();
            vec![json!({ "type": "function_call_output", "call_id": id, "output": content(&message.content) })]
        }
    }
}

fn assistant(message: &NewMessage) -> Vec<Value> {
    let blocks = message.reasoning.iter().flat_map(|reasoning| &reasoning.blocks);
    // Blocks of another vendor, left from before a fallback, mean nothing here.
    let mut items: Vec<Value> =
        blocks.filter(|block| block.get("type").is_some_and(|kind| kind == "reasoning")).cloned().collect();
    let text = message.content.text();
    if !text.is_empty() {
        items.push(json!({ "role": "assistant", "content": [{ "type": "output_text", "text": text }] }));
    }
    items.extend(message.tool_calls.iter().map(|call| {
        let arguments = if call.arguments.trim().is_empty() { "{}" } else { call.arguments.as_str() };
        json!({ "type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments })
    }));
    items
}

fn content(content: &Content) -> Value {
    match content {
        Content::Text(text) => (&**text).into(),
        Content::Parts(_) => parts(content).iter().map(content_part).collect(),
    }
}

fn content_part(part: &Part) -> Value {
    let text = |text: String| json!({ "type": "input_text", "text": text });
    match part {
        Part::Image { mime_type, data: Some(data), .. } => {
            json!({ "type": "input_image", "image_url": data_url(mime_type, data) })
        }
        Part::Image { url: Some(url), .. } => json!({ "type": "input_image", "image_url": url }),
        Part::File { name, mime_type, data } => match file_text(mime_type, data) {
            Some(content) => text(format!("{name}:\n{content}")),
            None => json!({ "type": "input_file", "filename": name, "file_data": data_url(mime_type, data) }),
        },
        Part::Text { .. } | Part::Image { .. } | Part::Audio { .. } => text(left_out(part)),
    }
}
