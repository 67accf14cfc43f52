//! The body of a messages call.

use model::{NewMessage, Part, Role};
use serde_json::{Map, Value, json};

use super::thinking::{Plan, adapts, is_block};
use crate::chat::{ChatRequest, ResponseFormat, ToolChoice, ToolSpec};
use crate::parts::{arguments_object, decimal, file_text, is_failed_result, left_out, parts, split_system};
use crate::provider::ModelInfo;

/// The vendor wants a limit; this one is for models of which none is known.
const MAX_TOKENS_DEFAULT: u32 = 8192;

pub(super) fn body(request: &ChatRequest, info: &ModelInfo) -> Value {
    let (system, conversation) = split_system(request);
    let max_tokens = request.sampling.max_output_tokens.or(info.max_output_tokens).unwrap_or(MAX_TOKENS_DEFAULT);
    let plan = Plan::of(request, info, max_tokens);
    // A request with tools is a step of a turn: it comes again with more at its end.
    let is_step = !request.tools.is_empty();

    let mut body = Map::new();
    body.insert("model".into(), request.model.as_str().into());
    body.insert("max_tokens".into(), max_tokens.into());
    body.insert("stream".into(), true.into());
    if let Some(system) = system {
        let mut block = json!({ "type": "text", "text": system });
        if is_step {
            mark_for_cache(&mut block);
        }
        body.insert("system".into(), json!([block]));
    }
    body.insert("messages".into(), messages(conversation, plan != Plan::Off, is_step).into());
    if is_step {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
        body.insert("tool_choice".into(), tool_choice(request));
    }
    if let Some(thinking) = plan.body() {
        body.insert("thinking".into(), thinking);
    }
    if let Some(config) = output_config(request, &plan) {
        body.insert("output_config".into(), config);
    }
    put_sampling(&mut body, request, &plan);
    body.extend(request.extra.clone());
    body.into()
}

fn put_sampling(body: &mut Map<String, Value>, request: &ChatRequest, plan: &Plan) {
    let sampling = &request.sampling;
    // Thinking fixes both, and the models that adapt know neither.
    if *plan == Plan::Off && !adapts(&request.model) {
        if let Some(temperature) = sampling.temperature {
            // The scale ends at 1 here, at 2 elsewhere.
            body.insert("temperature".into(), decimal(temperature.min(1.0)));
        } else if let Some(top_p) = sampling.top_p {
            // Newer models refuse both at once.
            body.insert("top_p".into(), decimal(top_p));
        }
    }
    if !sampling.stop.is_empty() {
        body.insert("stop_sequences".into(), json!(sampling.stop));
    }
}

fn output_config(request: &ChatRequest, plan: &Plan) -> Option<Value> {
    let mut config = Map::new();
    if let Plan::Adaptive(effort) = plan {
        config.insert("effort".into(), (*effort).into());
    }
    if let Some(ResponseFormat::JsonSchema { schema, .. }) = &request.response_format {
        config.insert("format".into(), json!({ "type": "json_schema", "schema": schema }));
    }
    (!config.is_empty()).then(|| config.into())
}

fn tool(tool: &ToolSpec) -> Value {
    json!({ "name": tool.name, "description": tool.description, "input_schema": &*tool.parameters })
}

fn tool_choice(request: &ChatRequest) -> Value {
    let mut choice = match &request.tool_choice {
        ToolChoice::Auto => json!({ "type": "auto" }),
        ToolChoice::None => return json!({ "type": "none" }),
        ToolChoice::Required => json!({ "type": "any" }),
        ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
    };
    if let Some(parallel) = request.parallel_tool_calls {
        choice["disable_parallel_tool_use"] = (!parallel).into();
    }
    choice
}

/// Turns of user and assistant, each holding the blocks of all messages that fall into it: results of
/// tools are the user's here. What says nothing is left out, because the vendor refuses it.
fn messages(conversation: &[NewMessage], with_thinking: bool, is_step: bool) -> Vec<Value> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in conversation {
        let (role, blocks) = match message.role {
            Role::System | Role::User => ("user", content(message)),
            Role::Assistant => ("assistant", assistant(message, with_thinking)),
            Role::Tool => ("user", vec![tool_result(message)]),
        };
        match turns.last_mut() {
            _ if blocks.is_empty() => {}
            Some((last, all)) if *last == role => all.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    if is_step && let Some(block) = turns.last_mut().and_then(|(_, blocks)| blocks.last_mut()) {
        mark_for_cache(block);
    }
    turns.into_iter().map(|(role, blocks)| json!({ "role": role, "content": blocks })).collect()
}

/// Everything up to this block is kept by the vendor for the next request that begins alike.
fn mark_for_cache(block: &mut Value) {
    // Thinking blocks are signed and cannot be marked.
    if !is_block(block) {
        block["cache_control"] = json!({ "type": "ephemeral" });
    }
}

fn assistant(message: &NewMessage, with_thinking: bool) -> Vec<Value> {
    let mut blocks: Vec<Value> = match &message.reasoning {
        Some(reasoning) if with_thinking => reasoning.blocks.iter().filter(|block| is_block(block)).cloned().collect(),
        _ => Vec::new(),
    };
    let text = message.content.text();
    if !text.trim().is_empty() {
        blocks.push(json!({ "type": "text", "text": text.trim_end() }));
    }
    blocks.extend(message.tool_calls.iter().map(|call| {
        json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": arguments_object(&call.arguments) })
    }));
    blocks
}

fn tool_result(message: &NewMessage) -> Value {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    let mut result = json!({ "type": "tool_result", "tool_use_id": id, "content": content(message) });
    if is_failed_result(message) {
        result["is_error"] = true.into();
    }
    result
}

fn content(message: &NewMessage) -> Vec<Value> {
    let is_said = |part: &Part| !matches!(part, Part::Text { text } if text.trim().is_empty());
    parts(&message.content).iter().filter(|part| is_said(part)).map(content_block).collect()
}

fn content_block(part: &Part) -> Value {
    let base64 = |mime_type: &str, data: &str| json!({ "type": "base64", "media_type": mime_type, "data": data });
    match part {
        Part::Image { mime_type, data: Some(data), .. } => {
            json!({ "type": "image", "source": base64(mime_type, data) })
        }
        Part::Image { url: Some(url), .. } => json!({ "type": "image", "source": { "type": "url", "url": url } }),
        Part::File { name, mime_type, data } if mime_type == "application/pdf" => {
            json!({ "type": "document", "title": name, "source": base64(mime_type, data) })
        }
        Part::File { name, mime_type, data } => match file_text(mime_type, data) {
            Some(text) => json!({
                "type": "document",
                "title": name,
                "source": { "type": "text", "media_type": "text/plain", "data": text },
            }),
            None => json!({ "type": "text", "text": left_out(part) }),
        },
        Part::Text { .. } | Part::Image { .. } | Part::Audio { .. } => {
            json!({ "type": "text", "text": left_out(part) })
        }
    }
}
