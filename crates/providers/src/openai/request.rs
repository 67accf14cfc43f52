//! The body of a chat completion.
//!
//! Nearly all of it is the conversation, and nearly all of that is plain text: it is written from
//! where it lies, without a tree of values in between.

use model::{Content, NewMessage, Part, Role};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, ResponseFormat, ToolChoice, ToolSpec};
use crate::effort::effort;
use crate::parts::{data_url, decimal, file_text, left_out, parts};

/// What is sent.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    messages: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// One message.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Plain { role: &'static str, content: &'a str },
    Made(Value),
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

/// `thinks`: whether the model can be asked for an effort. `names_completion_tokens`: whether the
/// limit is called `max_completion_tokens`.
pub(super) fn body(request: &ChatRequest, thinks: bool, names_completion_tokens: bool) -> Body<'_> {
    let mut body = Map::new();
    body.insert("model".into(), request.model.as_str().into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({ "include_usage": true }));
    if !request.tools.is_empty() {
        if let Some(choice) = tool_choice(&request.tool_choice) {
            body.insert("tool_choice".into(), choice);
        }
        if let Some(parallel) = request.parallel_tool_calls {
            body.insert("parallel_tool_calls".into(), parallel.into());
        }
    }
    if let Some(level) = request.thinking.filter(|_| thinks).and_then(|thinking| effort(&request.model, thinking)) {
        body.insert("reasoning_effort".into(), level.into());
    }
    put_sampling(&mut body, request, names_completion_tokens);
    match &request.response_format {
        None => {}
        Some(ResponseFormat::JsonObject) => {
            body.insert("response_format".into(), json!({ "type": "json_object" }));
        }
        Some(ResponseFormat::JsonSchema { name, schema, strict }) => {
            let schema = json!({ "name": name, "schema": schema, "strict": strict });
            body.insert("response_format".into(), json!({ "type": "json_schema", "json_schema": schema }));
        }
    }
    // Further fields come last and win, but the conversation and its tools are said already.
    let is_said = |key: &str| matches!(key, "messages" | "tools");
    body.extend(request.extra.iter().filter(|(key, _)| !is_said(key)).map(|(key, value)| (key.clone(), value.clone())));
    Body { messages: messages(&request.messages), tools: request.tools.iter().map(tool).collect(), rest: body }
}

fn put_sampling(body: &mut Map<String, Value>, request: &ChatRequest, names_completion_tokens: bool) {
    let sampling = &request.sampling;
    let tokens_key = if names_completion_tokens { "max_completion_tokens" } else { "max_tokens" };
    let numbers = [
        ("temperature", sampling.temperature.map(decimal)),
        ("top_p", sampling.top_p.map(decimal)),
        ("presence_penalty", sampling.presence_penalty.map(decimal)),
        ("frequency_penalty", sampling.frequency_penalty.map(decimal)),
        ("seed", sampling.seed.map(Value::from)),
        (tokens_key, sampling.max_output_tokens.map(Value::from)),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            body.insert(key.into(), value);
        }
    }
    if !sampling.stop.is_empty() {
        body.insert("stop".into(), json!(sampling.stop));
    }
}

fn tool(tool: &ToolSpec) -> Tool<'_> {
    let function = Function { name: &tool.name, description: &tool.description, parameters: &tool.parameters };
    Tool { r#type: "function", function }
}

fn tool_choice(choice: &ToolChoice) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some("none".into()),
        ToolChoice::Required => Some("required".into()),
        ToolChoice::Named(name) => Some(json!({ "type": "function", "function": { "name": name } })),
    }
}

fn messages(messages: &[NewMessage]) -> Vec<Line<'_>> {
    let mut out = Vec::with_capacity(messages.len());
    // Pictures of tool results, which must wait until all results of one step are told.
    let mut pictures = Vec::new();
    for message in messages {
        if message.role != Role::Tool && !pictures.is_empty() {
            out.push(Line::Made(json!({ "role": "user", "content": std::mem::take(&mut pictures) })));
        }
        out.push(match (message.role, &message.content) {
            (Role::System | Role::User, Content::Text(text)) => {
                Line::Plain { role: message.role.as_str(), content: text }
            }
            (Role::Assistant, Content::Text(text)) if message.tool_calls.is_empty() => {
                Line::Plain { role: "assistant", content: text }
            }
            (Role::System | Role::User, Content::Parts(parts)) => {
                let parts: Vec<Value> = parts.iter().map(content_part).collect();
                Line::Made(json!({ "role": message.role.as_str(), "content": parts }))
            }
            (Role::Assistant, _) => Line::Made(assistant(message)),
            (Role::Tool, _) => {
                pictures.extend(result_pictures(message));
                let id = message.tool_call_id.as_deref().unwrap_or_default();
                Line::Made(json!({ "role": "tool", "tool_call_id": id, "content": result_text(message) }))
            }
        });
    }
    if !pictures.is_empty() {
        out.push(Line::Made(json!({ "role": "user", "content": pictures })));
    }
    out
}

fn assistant(message: &NewMessage) -> Value {
    let text = message.content.text();
    let mut out = Map::new();
    out.insert("role".into(), "assistant".into());
    let is_only_calls = text.is_empty() && !message.tool_calls.is_empty();
    out.insert("content".into(), if is_only_calls { Value::Null } else { text.into_owned().into() });
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            let arguments = if call.arguments.trim().is_empty() { "{}" } else { call.arguments.as_str() };
            json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": arguments } })
        });
        out.insert("tool_calls".into(), calls.collect());
    }
    out.into()
}

fn result_text(message: &NewMessage) -> String {
    let texts: Vec<String> = parts(&message.content)
        .iter()
        .map(|part| match part {
            Part::Image { .. } => "[a picture; it follows]".to_owned(),
            Part::File { mime_type, data, .. } => file_text(mime_type, data).unwrap_or_else(|| left_out(part)),
            Part::Text { .. } | Part::Audio { .. } => left_out(part),
        })
        .collect();
    texts.join("\n")
}

fn result_pictures(message: &NewMessage) -> Vec<Value> {
    parts(&message.content).iter().filter(|part| matches!(part, Part::Image { .. })).map(content_part).collect()
}

fn content_part(part: &Part) -> Value {
    let text = |text: String| json!({ "type": "text", "text": text });
    match part {
        Part::Image { mime_type, data, url } => match (data, url) {
            (Some(data), _) => json!({ "type": "image_url", "image_url": { "url": data_url(mime_type, data) } }),
            (None, Some(url)) => json!({ "type": "image_url", "image_url": { "url": url } }),
            (None, None) => text(left_out(part)),
        },
        Part::Audio { mime_type, data } => match audio_format(mime_type) {
            Some(format) => json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } }),
            None => text(left_out(part)),
        },
        Part::File { name, mime_type, data } => match file_text(mime_type, data) {
            Some(content) => text(format!("{name}:\n{content}")),
            None => json!({ "type": "file", "file": { "filename": name, "file_data": data_url(mime_type, data) } }),
        },
        Part::Text { .. } => text(left_out(part)),
    }
}

fn audio_format(mime_type: &str) -> Option<&'static str> {
    match mime_type {
        "audio/wav" | "audio/x-wav" | "audio/wave" => Some("wav"),
        "audio/mpeg" | "audio/mp3" => Some("mp3"),
        _ => None,
    }
}
