use model::Thinking;
use serde_json::{Value, json};

use super::request::body;
use crate::chat::{ChatRequest, ResponseFormat, ToolChoice};
use crate::sample;

fn value(request: &ChatRequest, thinks: bool, names_completion_tokens: bool) -> Value {
    serde_json::to_value(body(request, thinks, names_completion_tokens)).unwrap()
}

#[test]
fn a_request_is_told_in_the_vendors_words() {
    let expected = json!({
        "model": "gpt-5",
        "stream": true,
        "stream_options": {"include_usage": true},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aW1n"}},
            ]},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"at\":\"it\"}"}},
                {"id": "c2", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "seen\n[a picture; it follows]"},
            {"role": "tool", "tool_call_id": "c2", "content": "no clock here"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aW1n"}}]},
            {"role": "assistant", "content": "A horse."},
            {"role": "user", "content": [
                {"type": "text", "text": "a.txt:\nhi"},
                {"type": "file", "file": {"filename": "b.pdf", "file_data": "data:application/pdf;base64,cGRm"}},
                {"type": "input_audio", "input_audio": {"data": "d2F2", "format": "wav"}},
            ]},
            {"role": "system", "content": "The user is in a hurry."},
        ],
        "tools": [{"type": "function", "function": {
            "name": "look", "description": "Looks.", "parameters": sample::parameters(),
        }}],
        "parallel_tool_calls": false,
        "reasoning_effort": "high",
        "temperature": 0.7,
        "top_p": 0.9,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 7,
        "max_completion_tokens": 20_000,
        "stop": ["END"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": true},
        },
        "vendor_field": {"x": 1},
    });
    let foreign = json!({"type": "thinking", "thinking": "Hm.", "signature": "s"});
    assert_eq!(value(&sample::request("gpt-5", vec![foreign]), true, true), expected);
}

#[test]
fn a_bare_request_sends_nothing_that_was_not_asked_for() {
    let request = ChatRequest {
        model: "m".into(),
        thinking: Some(Thinking::High),
        tool_choice: ToolChoice::Required,
        ..ChatRequest::default()
    };
    let expected = json!({"model": "m", "messages": [], "stream": true, "stream_options": {"include_usage": true}});
    assert_eq!(value(&request, false, false), expected);
}

#[test]
fn choices_and_formats_have_their_words() {
    let mut request = sample::request("m", vec![]);
    request.response_format = Some(ResponseFormat::JsonObject);
    let mut chosen = |choice| {
        request.tool_choice = choice;
        value(&request, false, false)
    };
    assert_eq!(chosen(ToolChoice::None)["tool_choice"], "none");
    assert_eq!(chosen(ToolChoice::Required)["tool_choice"], "required");
    let named = chosen(ToolChoice::Named("look".into()));
    assert_eq!(named["tool_choice"], json!({"type": "function", "function": {"name": "look"}}));
    assert_eq!(named["response_format"], json!({"type": "json_object"}));
    assert_eq!(named["max_tokens"], 20_000);
}

#[test]
fn further_fields_overrule_ours() {
    let mut request = sample::request("m", vec![]);
    request.extra.insert("temperature".into(), json!(1));
    assert_eq!(value(&request, true, true)["temperature"], json!(1));
}
