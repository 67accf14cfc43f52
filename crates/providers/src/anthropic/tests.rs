use model::{NewMessage, Thinking};
use serde_json::{Value, json};

use super::request::body;
use crate::chat::{ChatRequest, ToolChoice};
use crate::known::KnownModels;
use crate::sample;

fn sent(request: &ChatRequest) -> Value {
    body(request, &KnownModels::default().describe(&request.model))
}

fn thought() -> Value {
    json!({"type": "thinking", "thinking": "Hm.", "signature": "s1g"})
}

#[test]
fn a_request_is_told_in_the_vendors_words() {
    let foreign = json!({"type": "reasoning", "id": "rs_1"});
    let cached = json!({"type": "ephemeral"});
    let png = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aW1n"}});
    let expected = json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 20_000,
        "stream": true,
        "system": [{"type": "text", "text": "Be brief.\n\nBe kind.", "cache_control": cached}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, png]},
            {"role": "assistant", "content": [
                thought(),
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "it"}},
                {"type": "tool_use", "id": "c2", "name": "clock", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "seen"}, png]},
                {
                    "type": "tool_result",
                    "tool_use_id": "c2",
                    "content": [{"type": "text", "text": "no clock here"}],
                    "is_error": true,
                },
            ]},
            {"role": "assistant", "content": [{"type": "text", "text": "A horse."}]},
            {"role": "user", "content": [
                {"type": "document", "title": "a.txt", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
                {"type": "document", "title": "b.pdf", "source": {
                    "type": "base64", "media_type": "application/pdf", "data": "cGRm",
                }},
                {"type": "text", "text": "[a sound (audio/wav) that cannot be played to this model]"},
                {"type": "text", "text": "The user is in a hurry.", "cache_control": cached},
            ]},
        ],
        "tools": [{"name": "look", "description": "Looks.", "input_schema": sample::parameters()}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 8192},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        "stop_sequences": ["END"],
        "vendor_field": {"x": 1},
    });
    assert_eq!(sent(&sample::request("claude-sonnet-4-5", vec![thought(), foreign])), expected);
}

#[test]
fn newer_models_are_given_an_effort_in_place_of_a_budget() {
    let body = sent(&sample::request("claude-opus-4-7", vec![thought()]));
    assert_eq!(body["thinking"], json!({"type": "adaptive", "display": "summarized"}));
    assert_eq!(body["output_config"]["effort"], "high");
    assert_eq!((body.get("temperature"), body.get("top_p")), (None, None));
}

#[test]
fn thinking_is_left_out_where_the_vendor_would_refuse_it() {
    let mut request = sample::request("claude-sonnet-4-5", vec![thought()]);
    let thinks = |request: &ChatRequest| sent(request).get("thinking").is_some();
    assert!(thinks(&request));

    request.thinking = Some(Thinking::Off);
    let body = sent(&request);
    assert_eq!(body.get("thinking"), None);
    assert_eq!((&body["temperature"], body.get("top_p")), (&json!(0.7), None));
    assert_eq!(body["messages"][1]["content"][0]["type"], "text", "no thought is sent back without thinking");

    request.thinking = Some(Thinking::High);
    request.tool_choice = ToolChoice::Required;
    assert!(!thinks(&request), "a tool is forced");
    assert_eq!(sent(&request)["tool_choice"]["type"], "any");

    request.tool_choice = ToolChoice::Auto;
    request.sampling.max_output_tokens = Some(2000);
    assert!(!thinks(&request), "no room for a thought and an answer");
    request.sampling.max_output_tokens = Some(3000);
    assert_eq!(sent(&request)["thinking"]["budget_tokens"], 1500);

    let mut loop_without = sample::request("claude-sonnet-4-5", vec![]);
    loop_without.messages.truncate(6);
    assert!(!thinks(&loop_without), "the loop began without a thought");
}

#[test]
fn what_says_nothing_is_left_out() {
    let request = ChatRequest {
        model: "claude-3-haiku-20240307".into(),
        messages: vec![
            NewMessage::user("a"),
            NewMessage::assistant(""),
            NewMessage::user(" \n"),
            NewMessage::user("b"),
            NewMessage::assistant("c \n"),
        ],
        ..ChatRequest::default()
    };
    let expected = json!({
        "model": "claude-3-haiku-20240307",
        "max_tokens": 4096,
        "stream": true,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "c"}]},
        ],
    });
    assert_eq!(sent(&request), expected);
}
