//! The body of a `streamGenerateContent` call.

use std::collections::HashMap;

use model::{NewMessage, Part, Role, Thinking};
use serde_json::{Map, Value, json};

use super::signature::{self, Place};
use crate::chat::{ChatRequest, ResponseFormat, ToolChoice, ToolSpec};
use crate::parts::{arguments_object, decimal, is_failed_result, left_out, parts, split_system};
use crate::presets::bare_id;

/// The least budget of models that cannot stop thinking, in tokens.
const PRO_BUDGET_MIN: u32 = 128;

pub(super) fn body(request: &ChatRequest, thinks: bool) -> Value {
    let (system, conversation) = split_system(request);
    let mut body = Map::new();
    if let Some(system) = system {
        body.insert("systemInstruction".into(), json!({ "parts": [{ "text": system }] }));
    }
    let is_third = bare_id(&request.model).starts_with("gemini-3");
    body.insert("contents".into(), contents(conversation, is_third).into());
    if !request.tools.is_empty() {
        let declarations: Vec<Value> = request.tools.iter().map(tool).collect();
        body.insert("tools".into(), json!([{ "functionDeclarations": declarations }]));
        body.insert("toolConfig".into(), json!({ "functionCallingConfig": calling(&request.tool_choice) }));
    }
    let config = generation_config(request, thinks);
    if !config.is_empty() {
        body.insert("generationConfig".into(), config.into());
    }
    body.extend(request.extra.clone());
    body.into()
}

fn generation_config(request: &ChatRequest, thinks: bool) -> Map<String, Value> {
    let sampling = &request.sampling;
    let mut config = Map::new();
    let fields = [
        ("temperature", sampling.temperature.map(decimal)),
        ("topP", sampling.top_p.map(decimal)),
        ("maxOutputTokens", sampling.max_output_tokens.map(Value::from)),
        ("seed", sampling.seed.map(Value::from)),
        ("presencePenalty", sampling.presence_penalty.map(decimal)),
        ("frequencyPenalty", sampling.frequency_penalty.map(decimal)),
        ("stopSequences", (!sampling.stop.is_empty()).then(|| json!(sampling.stop))),
        ("thinkingConfig", request.thinking.filter(|_| thinks).map(|level| thinking(&request.model, level))),
    ];
    for (key, value) in fields {
        if let Some(value) = value {
            config.insert(key.into(), value);
        }
    }
    if let Some(format) = &request.response_format {
        config.insert("responseMimeType".into(), "application/json".into());
        if let ResponseFormat::JsonSchema { schema, .. } = format {
            config.insert("responseJsonSchema".into(), schema.clone());
        }
    }
    config
}

/// The third generation knows levels, of which all its members share two; those before it a budget.
fn thinking(model: &str, level: Thinking) -> Value {
    let id = bare_id(model);
    if id.starts_with("gemini-3") {
        let word = match level {
            Thinking::Off | Thinking::Minimal | Thinking::Low => "low",
            Thinking::Medium | Thinking::High | Thinking::Xhigh => "high",
        };
        return json!({ "thinkingLevel": word, "includeThoughts": level != Thinking::Off });
    }
    let least = if id.contains("pro") { PRO_BUDGET_MIN } else { 0 };
    json!({ "thinkingBudget": level.budget_tokens().max(least), "includeThoughts": level != Thinking::Off })
}

fn tool(tool: &ToolSpec) -> Value {
    json!({ "name": tool.name, "description": tool.description, "parametersJsonSchema": &*tool.parameters })
}

fn calling(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({ "mode": "AUTO" }),
        ToolChoice::None => json!({ "mode": "NONE" }),
        ToolChoice::Required => json!({ "mode": "ANY" }),
        ToolChoice::Named(name) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
    }
}

/// Turns of user and model; results of tools are the user's here.
fn contents(conversation: &[NewMessage], is_third: bool) -> Vec<Value> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in conversation {
        names.extend(message.tool_calls.iter().map(|call| (call.id.as_str(), call.name.as_str())));
        let (role, blocks) = match message.role {
            Role::System | Role::User => ("user", parts(&message.content).iter().map(content_part).collect()),
            Role::Assistant => ("model", model_turn(message, is_third)),
            Role::Tool => ("user", tool_result(message, &names)),
        };
        match turns.last_mut() {
            _ if blocks.is_empty() => {}
            Some((last, all)) if *last == role => all.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns.into_iter().map(|(role, parts)| json!({ "role": role, "parts": parts })).collect()
}

fn model_turn(message: &NewMessage, is_third: bool) -> Vec<Value> {
    let blocks = message.reasoning.as_ref().map(|reasoning| reasoning.blocks.as_slice()).unwrap_or_default();
    let signed = |mut part: Value, signature: Option<&str>| {
        if let Some(signature) = signature {
            part["thoughtSignature"] = signature.into();
        }
        part
    };
    let mut out = Vec::new();
    let text = message.content.text();
    if !text.is_empty() {
        out.push(signed(json!({ "text": text }), signature::find(blocks, &Place::Text)));
    }
    let is_signed = message.tool_calls.iter().any(|call| signature::find(blocks, &Place::Call(&call.id)).is_some());
    for (index, call) in message.tool_calls.iter().enumerate() {
        let part = json!({ "functionCall": { "name": call.name, "args": arguments_object(&call.arguments) } });
        // The third generation refuses a step whose first call is not signed.
        let foreign = (is_third && !is_signed && index == 0).then_some(signature::FOREIGN);
        out.push(signed(part, signature::find(blocks, &Place::Call(&call.id)).or(foreign)));
    }
    out
}

fn tool_result(message: &NewMessage, names: &HashMap<&str, &str>) -> Vec<Value> {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    // A result whose call was compacted away still needs a name.
    let name = names.get(id).copied().unwrap_or("tool");
    let text = message.content.text();
    let response = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(fields)) if !is_failed_result(message) => fields.into(),
        _ if is_failed_result(message) => json!({ "error": text }),
        _ => json!({ "result": text }),
    };
    let mut out = vec![json!({ "functionResponse": { "name": name, "response": response } })];
    let others = parts(&message.content);
    out.extend(others.iter().filter(|part| !matches!(part, Part::Text { .. })).map(content_part));
    out
}

fn content_part(part: &Part) -> Value {
    let inline = |mime_type: &str, data: &str| json!({ "inlineData": { "mimeType": mime_type, "data": data } });
    match part {
        Part::Image { mime_type, data: Some(data), .. } => inline(mime_type, data),
        Part::Image { mime_type, url: Some(url), .. } => {
            json!({ "fileData": { "mimeType": mime_type, "fileUri": url } })
        }
        Part::Audio { mime_type, data } | Part::File { mime_type, data, .. } => inline(mime_type, data),
        Part::Text { .. } | Part::Image { .. } => json!({ "text": left_out(part) }),
    }
}
