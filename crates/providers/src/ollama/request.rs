//! The body of `/api/chat`.

use std::collections::HashMap;

use model::{NewMessage, Part, Role, Thinking};
use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, ResponseFormat, ToolChoice};
use crate::parts::{arguments_object, decimal, file_text, left_out, parts};
use crate::presets::bare_id;

/// `context_window` is what the configuration says, in tokens.
pub(super) fn body(request: &ChatRequest, thinks: bool, context_window: Option<u32>) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), request.model.as_str().into());
    body.insert("messages".into(), messages(&request.messages).into());
    body.insert("stream".into(), true.into());
    if !request.tools.is_empty() && request.tool_choice != ToolChoice::None {
        let tools = request.tools.iter().map(|tool| {
            let function =
                json!({ "name": tool.name, "description": tool.description, "parameters": &*tool.parameters });
            json!({ "type": "function", "function": function })
        });
        body.insert("tools".into(), tools.collect());
    }
    if let Some(level) = request.thinking.filter(|_| thinks) {
        body.insert("think".into(), think(&request.model, level));
    }
    match &request.response_format {
        None => {}
        Some(ResponseFormat::JsonObject) => {
            body.insert("format".into(), "json".into());
        }
        Some(ResponseFormat::JsonSchema { schema, .. }) => {
            body.insert("format".into(), schema.clone());
        }
    }
    let options = options(request, context_window);
    if !options.is_empty() {
        body.insert("options".into(), options.into());
    }
    body.extend(request.extra.clone());
    body.into()
}

/// gpt-oss always thinks and takes a level, all others take yes or no.
fn think(model: &str, level: Thinking) -> Value {
    if !bare_id(model).starts_with("gpt-oss") {
        return (level != Thinking::Off).into();
    }
    match level {
        Thinking::Off | Thinking::Minimal | Thinking::Low => "low".into(),
        Thinking::Medium => "medium".into(),
        Thinking::High | Thinking::Xhigh => "high".into(),
    }
}

fn options(request: &ChatRequest, context_window: Option<u32>) -> Map<String, Value> {
    let sampling = &request.sampling;
    let fields = [
        ("temperature", sampling.temperature.map(decimal)),
        ("top_p", sampling.top_p.map(decimal)),
        ("num_predict", sampling.max_output_tokens.map(Value::from)),
        ("seed", sampling.seed.map(Value::from)),
        ("presence_penalty", sampling.presence_penalty.map(decimal)),
        ("frequency_penalty", sampling.frequency_penalty.map(decimal)),
        ("stop", (!sampling.stop.is_empty()).then(|| json!(sampling.stop))),
        ("num_ctx", context_window.map(Value::from)),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn messages(messages: &[NewMessage]) -> Vec<Value> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut out = Vec::with_capacity(messages.len());
    for message in messages {
        names.extend(message.tool_calls.iter().map(|call| (call.id.as_str(), call.name.as_str())));
        let mut entry = Map::new();
        entry.insert("role".into(), message.role.as_str().into());
        put_content(&mut entry, message);
        if !message.tool_calls.is_empty() {
            let calls = message.tool_calls.iter().map(
                |call| json!({ "function": { "name": call.name, "arguments": arguments_object(&call.arguments) } }),
            );
            entry.insert("tool_calls".into(), calls.collect());
        }
        // Some models' templates show the thoughts of the running tool loop.
        if let Some(reasoning) = message.reasoning.as_ref().filter(|reasoning| !reasoning.text.is_empty()) {
            entry.insert("thinking".into(), reasoning.text.as_str().into());
        }
        if message.role == Role::Tool
            && let Some(name) = message.tool_call_id.as_deref().and_then(|id| names.get(id))
        {
            entry.insert("tool_name".into(), (*name).into());
        }
        out.push(entry.into());
    }
    out
}

/// Text in one piece, pictures beside it.
fn put_content(entry: &mut Map<String, Value>, message: &NewMessage) {
    let mut texts = Vec::new();
    let mut images: Vec<Value> = Vec::new();
    for part in parts(&message.content) {
        match &part {
            Part::Image { data: Some(data), .. } => images.push(data.as_str().into()),
            Part::File { name, mime_type, data } => {
                let text = file_text(mime_type, data).map(|text| format!("{name}:\n{text}"));
                texts.push(text.unwrap_or_else(|| left_out(&part)));
            }
            Part::Text { .. } | Part::Image { .. } | Part::Audio { .. } => texts.push(left_out(&part)),
        }
    }
    entry.insert("content".into(), texts.join("\n").into());
    if !images.is_empty() {
        entry.insert("images".into(), images.into());
    }
}
