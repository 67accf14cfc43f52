use model::Thinking;
use serde_json::json;

use super::request::body;
use crate::chat::{ChatRequest, ResponseFormat, ToolChoice};
use crate::sample;

#[test]
fn a_request_is_told_in_the_vendors_words() {
    let expected = json!({
        "model": "qwen3",
        "stream": true,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "What is this?", "images": ["aW1n"]},
            {"role": "assistant", "content": "Let me see.", "thinking": "Hm.", "tool_calls": [
                {"function": {"name": "look", "arguments": {"at": "it"}}},
                {"function": {"name": "clock", "arguments": {}}},
            ]},
            {"role": "tool", "tool_name": "look", "content": "seen", "images": ["aW1n"]},
            {"role": "tool", "tool_name": "clock", "content": "no clock here"},
            {"role": "assistant", "content": "A horse."},
            {
                "role": "user",
                "content": concat!(
                    "a.txt:\nhi\n",
                    "[the file `b.pdf` (application/pdf), which cannot be given to this model]\n",
                    "[a sound (audio/wav) that cannot be played to this model]",
                ),
            },
            {"role": "system", "content": "The user is in a hurry."},
        ],
        "tools": [{"type": "function", "function": {
            "name": "look", "description": "Looks.", "parameters": sample::parameters(),
        }}],
        "think": true,
        "format": {"type": "object"},
        "options": {
            "temperature": 0.7,
            "top_p": 0.9,
            "num_predict": 20_000,
            "seed": 7,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "stop": ["END"],
            "num_ctx": 32_768,
        },
        "vendor_field": {"x": 1},
    });
    assert_eq!(body(&sample::request("qwen3", vec![]), true, Some(32_768)), expected);
}

#[test]
fn a_bare_request_sends_nothing_that_was_not_asked_for() {
    let request = ChatRequest { model: "m".into(), thinking: Some(Thinking::High), ..ChatRequest::default() };
    assert_eq!(body(&request, false, None), json!({"model": "m", "messages": [], "stream": true}));
}

#[test]
fn thinking_is_yes_or_no_or_a_level() {
    let think = |model: &str, level| {
        let request = ChatRequest { model: model.into(), thinking: Some(level), ..ChatRequest::default() };
        body(&request, true, None)["think"].clone()
    };
    assert_eq!(think("qwen3", Thinking::Off), json!(false));
    assert_eq!(think("gpt-oss:20b", Thinking::Off), json!("low"));
    assert_eq!(think("gpt-oss:20b", Thinking::Xhigh), json!("high"));
}

#[test]
fn forbidden_tools_are_not_shown() {
    let mut request = sample::request("m", vec![]);
    request.tool_choice = ToolChoice::None;
    request.response_format = Some(ResponseFormat::JsonObject);
    let body = body(&request, false, None);
    assert_eq!((body.get("tools"), &body["format"]), (None, &json!("json")));
}
