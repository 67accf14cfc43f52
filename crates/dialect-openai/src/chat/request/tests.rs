use model::{Content, Part, Role, ToolCall};
use providers::ResponseFormat;
use serde_json::json;

use super::*;
use crate::chat::messages::PartKind;

fn with(fields: Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    for (key, value) in fields.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

fn read(fields: Value) -> Request {
    Request::read(&with(fields)).unwrap()
}

fn refusal(fields: Value) -> String {
    let error = Request::read(&with(fields)).unwrap_err();
    assert_eq!(error.status, axum::http::StatusCode::BAD_REQUEST);
    error.message
}

fn messages(messages: Value) -> Vec<NewMessage> {
    read(json!({ "messages": messages })).messages
}

#[test]
fn the_fields_of_the_published_api_are_kept_to_their_bounds() {
    for (fields, message) in [
        (json!({ "model": null }), "Invalid request: model: Invalid input: expected string, received null"),
        (json!({ "model": "" }), "Invalid request: model: Too small: expected string to have >=1 characters"),
        (json!({ "messages": [] }), "Invalid request: messages: Too small: expected array to have >=1 items"),
        (json!({ "messages": "hi" }), "Invalid request: messages: Invalid input: expected array, received string"),
        (json!({ "stream": "yes" }), "Invalid request: stream: Invalid input: expected boolean, received string"),
        (json!({ "temperature": 2.1 }), "Invalid request: temperature: Too big: expected number to be <=2"),
        (json!({ "temperature": -0.1 }), "Invalid request: temperature: Too small: expected number to be >=0"),
        (json!({ "max_tokens": 0 }), "Invalid request: max_tokens: Too small: expected number to be >=1"),
        (json!({ "max_tokens": 1.5 }), "Invalid request: max_tokens: Invalid input: expected int, received number"),
        (json!({ "stream_options": { "x": 1 } }), "Invalid request: stream_options: Unrecognized key: \"x\""),
        (json!({ "bogus": 1 }), "Invalid request: : Unrecognized key: \"bogus\""),
        (
            json!({ "messages": [{ "role": "user", "content": "x", "mood": 1 }] }),
            "Invalid request: messages.0: Unrecognized key: \"mood\"",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": 7 }] }),
            "Invalid request: messages.0.content: Invalid input: expected string, received number",
        ),
    ] {
        assert_eq!(refusal(fields.clone()), message, "{fields}");
    }
    let message = refusal(json!({ "messages": [{ "role": "wizard", "content": "x" }] }));
    assert!(
        message.starts_with("Invalid request: messages.0.role: Invalid option: expected one of \"system\""),
        "{message}"
    );
    let error = Request::read(&json!([])).unwrap_err();
    assert_eq!(error.message, "Invalid request: : Invalid input: expected object, received array");
}

#[test]
fn the_documented_fields_beyond_are_kept_to_their_bounds_too() {
    for (fields, start) in [
        (json!({ "n": 9 }), "n: Too big"),
        (json!({ "n": 0 }), "n: Too small"),
        (json!({ "top_p": 1.1 }), "top_p: Too big"),
        (json!({ "stop": [] }), "stop: Invalid input"),
        (json!({ "stop": ["a", "b", "c", "d", "e"] }), "stop: Invalid input"),
        (json!({ "presence_penalty": -2.5 }), "presence_penalty: Too small"),
        (json!({ "frequency_penalty": 3 }), "frequency_penalty: Too big"),
        (json!({ "seed": "x" }), "seed: Invalid input: expected int"),
        (json!({ "reasoning_effort": "huge" }), "reasoning_effort: Invalid option"),
        (json!({ "verbosity": "loud" }), "verbosity: Invalid option"),
        (json!({ "logprobs": true }), "logprobs: this model gives no log probabilities"),
        (json!({ "top_logprobs": 3 }), "top_logprobs: needs `logprobs`"),
        (json!({ "top_logprobs": 21 }), "top_logprobs: Too big"),
        (json!({ "modalities": ["text", "audio"] }), "modalities.1: this model answers with text only"),
        (json!({ "logit_bias": [] }), "logit_bias: Invalid input: expected object"),
        (json!({ "metadata": "x" }), "metadata: Invalid input: expected object"),
        (json!({ "user": 1 }), "user: Invalid input: expected string"),
        (json!({ "response_format": { "type": "xml" } }), "response_format.type: Invalid option"),
    ] {
        let message = refusal(fields.clone());
        assert!(message.strip_prefix("Invalid request: ").unwrap().starts_with(start), "{fields}: {message}");
    }
}

#[test]
fn everything_documented_is_accepted() {
    let request = read(json!({
        "stream": true, "stream_options": { "include_usage": true, "include_obfuscation": false }, "temperature": 0.5, "top_p": 1,
        "max_tokens": 10, "max_completion_tokens": 20, "stop": "END", "n": 3, "seed": -4, "presence_penalty": 1, "frequency_penalty": -1,
        "logit_bias": { "50256": -100 }, "logprobs": false, "reasoning_effort": "high", "verbosity": "low", "modalities": ["text"],
        "audio": null, "prediction": { "type": "content", "content": "x" }, "service_tier": "auto", "parallel_tool_calls": false,
        "user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h", "metadata": { "a": "b" },
        "store": true, "web_search_options": {}, "response_format": { "type": "json_object" },
    }));
    assert_eq!(request.stream, Some(StreamWish { usage: true, null_usage: true }));
    assert_eq!(
        (request.choices, request.thinking, request.parallel_tool_calls),
        (3, Some(Thinking::High), Some(false))
    );
    let expected = Sampling {
        temperature: Some(0.5),
        top_p: Some(1.0),
        max_output_tokens: Some(20),
        stop: vec!["END".into()],
        seed: Some(-4),
        presence_penalty: Some(1.0),
        frequency_penalty: Some(-1.0),
    };
    assert_eq!(request.sampling, expected);
    assert_eq!(request.format.unwrap().wire, ResponseFormat::JsonObject);
}

#[test]
fn a_stream_tells_usage_unless_it_is_unwanted() {
    let wish = |fields| read(fields).stream;
    assert_eq!(wish(json!({ "stream": false })), None);
    assert_eq!(wish(json!({ "stream": true })), Some(StreamWish { usage: true, null_usage: false }));
    let unwanted = json!({ "stream": true, "stream_options": { "include_usage": false } });
    assert_eq!(wish(unwanted), Some(StreamWish { usage: false, null_usage: false }));
}

#[test]
fn a_conversation_is_read_in_order() {
    let seen = messages(json!([
        { "role": "system", "content": "be brief" },
        { "role": "developer", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
        { "role": "user", "content": "weather?", "name": "ann" },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "{}" } },
        ] },
        { "role": "tool", "tool_call_id": "call_1", "content": [{ "type": "text", "text": "sunny" }] },
        { "role": "assistant", "content": [{ "type": "refusal", "refusal": "no" }] },
        { "role": "assistant", "refusal": "never" },
        { "role": "user", "content": "ok" },
    ]));
    let call = ToolCall { id: "call_1".into(), name: "weather".into(), arguments: "{}".into() };
    let expected = vec![
        NewMessage::system("be brief"),
        NewMessage::system("a\nb"),
        NewMessage::user("weather?"),
        NewMessage { tool_calls: vec![call], ..NewMessage::assistant("") },
        NewMessage::tool_result("call_1", "sunny"),
        NewMessage::assistant("no"),
        NewMessage::assistant("never"),
        NewMessage::user("ok"),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn functions_of_the_form_before_tools_meet_their_results() {
    let seen = messages(json!([
        { "role": "user", "content": "weather?" },
        { "role": "assistant", "content": null, "function_call": { "name": "weather", "arguments": "{}" } },
        { "role": "function", "name": "weather", "content": "sunny" },
    ]));
    assert_eq!(seen[1].tool_calls[0].id, seen[2].tool_call_id.clone().unwrap());
    assert_eq!(seen[2].role, Role::Tool);
    let alone = json!({ "messages": [{ "role": "function", "name": "weather", "content": "x" }] });
    assert_eq!(refusal(alone), "Invalid request: messages.0.name: no earlier message calls the function \"weather\"");
    let request = read(json!({ "functions": [{ "name": "weather" }], "function_call": { "name": "weather" } }));
    assert!(request.names_functions);
    assert_eq!(request.tool_choice, ToolChoice::Named("weather".into()));
}

#[test]
fn parts_other_than_text_are_kept_with_their_places() {
    let request = read(json!({ "messages": [{ "role": "user", "content": [
        { "type": "text", "text": "look" },
        { "type": "image_url", "image_url": { "url": "data:image/PNG;base64,AAAA", "detail": "low" } },
        { "type": "image_url", "image_url": { "url": "https://example.org/a.webp?x=1" } },
        { "type": "input_audio", "input_audio": { "data": "BBBB", "format": "mp3" } },
        { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,CCCC" } },
        { "type": "file", "file": { "filename": "notes.txt", "file_data": "DDDD" } },
    ] }] }));
    let expected = Content::from(vec![
        Part::Text { text: "look".into() },
        Part::Image { mime_type: "image/png".into(), data: Some("AAAA".into()), url: None },
        Part::Image { mime_type: "image/webp".into(), data: None, url: Some("https://example.org/a.webp?x=1".into()) },
        Part::Audio { mime_type: "audio/mpeg".into(), data: "BBBB".into() },
        Part::File { name: "a.pdf".into(), mime_type: "application/pdf".into(), data: "CCCC".into() },
        Part::File { name: "notes.txt".into(), mime_type: "text/plain".into(), data: "DDDD".into() },
    ]);
    assert_eq!(request.messages[0].content, expected);
    let places: Vec<_> = request.parts.iter().map(|place| (place.path.as_str(), place.kind.clone())).collect();
    let file = |mime_type: &str| PartKind::File { mime_type: mime_type.into() };
    let expected = [
        ("messages.0.content.1", PartKind::ImageData),
        ("messages.0.content.2", PartKind::ImageUrl),
        ("messages.0.content.3", PartKind::Audio),
        ("messages.0.content.4", file("application/pdf")),
        ("messages.0.content.5", file("text/plain")),
    ];
    assert_eq!(places, expected);
}

#[test]
fn parts_that_cannot_be_read_are_named() {
    let part = |part: Value| refusal(json!({ "messages": [{ "role": "user", "content": [part] }] }));
    assert!(part(json!({ "type": "video" })).contains("messages.0.content.0.type: Invalid option"));
    assert!(part(json!({ "type": "text" })).contains("messages.0.content.0.text: Invalid input: expected string"));
    assert!(
        part(json!({ "type": "image_url", "image_url": { "url": "ftp://x" } }))
            .contains("messages.0.content.0.image_url.url: Invalid URL")
    );
    assert!(
        part(json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,$" } })).contains("Invalid URL")
    );
    assert!(
        part(json!({ "type": "image_url" })).contains("messages.0.content.0.image_url: Invalid input: expected object")
    );
    assert!(
        part(json!({ "type": "input_audio", "input_audio": { "data": "x", "format": "ogg" } }))
            .contains("input_audio.format: Invalid option")
    );
    assert!(
        part(json!({ "type": "file", "file": { "file_id": "file-1" } }))
            .contains("messages.0.content.0.file.file_id: uploaded files")
    );
    let system = json!({ "messages": [{ "role": "system", "content": [{ "type": "image_url", "image_url": { "url": "https://x" } }] }] });
    assert!(refusal(system).contains("messages.0.content.0.type: Invalid option: expected one of \"text\""));
}

#[test]
fn tools_and_their_choice_are_read() {
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "description": "d", "parameters": { "type": "object" }, "strict": true } });
    let request = read(
        json!({ "tools": [tool("a"), tool("b")], "tool_choice": { "type": "function", "function": { "name": "b" } } }),
    );
    assert_eq!(request.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(request.tool_choice, ToolChoice::Named("b".into()));
    let choice = |word: &str| read(json!({ "tools": [tool("a")], "tool_choice": word })).tool_choice;
    assert_eq!(["none", "auto", "required"].map(choice), [ToolChoice::None, ToolChoice::Auto, ToolChoice::Required]);
    let bare = read(json!({ "tools": [{ "type": "function", "function": { "name": "a" } }] }));
    assert_eq!(*bare.tools[0].parameters, json!({ "type": "object", "properties": {} }));
    for (fields, start) in [
        (json!({ "tools": [{ "type": "custom" }] }), "tools.0.type: Invalid input: expected \"function\""),
        (json!({ "tools": [{ "type": "function" }] }), "tools.0.function: Invalid input: expected object"),
        (json!({ "tools": [tool("a b")] }), "tools.0.function.name: Invalid string"),
        (json!({ "tools": [tool("a")], "tool_choice": "sometimes" }), "tool_choice: Invalid input"),
        (
            json!({ "tools": [tool("a")], "tool_choice": { "type": "function", "function": { "name": "z" } } }),
            "tool_choice: names \"z\"",
        ),
        (json!({ "tool_choice": "required" }), "tool_choice: asks for a call"),
    ] {
        let message = refusal(fields.clone());
        assert!(message.strip_prefix("Invalid request: ").unwrap().starts_with(start), "{fields}: {message}");
    }
}

#[test]
fn somebody_must_ask() {
    for messages in [
        json!([{ "role": "system", "content": "x" }]),
        json!([{ "role": "assistant", "content": "x" }]),
        json!([{ "role": "user", "content": "" }]),
    ] {
        assert_eq!(refusal(json!({ "messages": messages })), "No user message found in messages array");
    }
}
