use model::Thinking;
use serde_json::json;

use super::request::body;
use crate::chat::{ChatRequest, ToolChoice};
use crate::sample;

#[test]
fn a_request_is_told_in_the_vendors_words() {
    let ours = json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": []});
    let foreign = json!({"type": "thinking", "thinking": "Hm.", "signature": "s"});
    let expected = json!({
        "model": "gpt-5",
        "stream": true,
        "store": false,
        "include": ["reasoning.encrypted_content"],
        "instructions": "Be brief.\n\nBe kind.",
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": "data:image/png;base64,aW1n"},
            ]},
            ours.clone(),
            {"role": "assistant", "content": [{"type": "output_text", "text": "Let me see."}]},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{\"at\":\"it\"}"},
            {"type": "function_call", "call_id": "c2", "name": "clock", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": [
                {"type": "input_text", "text": "seen"},
                {"type": "input_image", "image_url": "data:image/png;base64,aW1n"},
            ]},
            {"type": "function_call_output", "call_id": "c2", "output": "no clock here"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "A horse."}]},
            {"role": "user", "content": [
                {"type": "input_text", "text": "a.txt:\nhi"},
                {"type": "input_file", "filename": "b.pdf", "file_data": "data:application/pdf;base64,cGRm"},
                {"type": "input_text", "text": "[a sound (audio/wav) that cannot be played to this model]"},
            ]},
            {"role": "developer", "content": "The user is in a hurry."},
        ],
        "tools": [{
            "type": "function", "name": "look", "description": "Looks.", "parameters": sample::parameters(), "strict": false,
        }],
        "parallel_tool_calls": false,
        "reasoning": {"effort": "high", "summary": "auto"},
        "temperature": 0.7,
        "top_p": 0.9,
        "max_output_tokens": 20_000,
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": true}},
        "vendor_field": {"x": 1},
    });
    assert_eq!(body(&sample::request("gpt-5", vec![ours, foreign]), true), expected);
}

#[test]
fn a_model_that_does_not_reason_is_not_asked_to() {
    let mut request = sample::request("gpt-4o", vec![]);
    let plain = body(&request, false);
    assert_eq!((plain.get("include"), plain.get("reasoning")), (None, None));
    request.model = "gpt-5.1".into();
    request.thinking = Some(Thinking::Off);
    assert_eq!(body(&request, true)["reasoning"], json!({"effort": "none"}));
    request.model = "o3".into();
    assert_eq!(body(&request, true).get("reasoning"), None);
    request.tool_choice = ToolChoice::Named("look".into());
    assert_eq!(body(&request, true)["tool_choice"], json!({"type": "function", "name": "look"}));
}

#[test]
fn a_bare_request_sends_nothing_that_was_not_asked_for() {
    let request = ChatRequest { model: "m".into(), ..ChatRequest::default() };
    assert_eq!(body(&request, false), json!({"model": "m", "input": [], "stream": true, "store": false}));
}
