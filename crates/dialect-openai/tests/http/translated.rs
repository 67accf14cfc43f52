use std::time::Duration;

use model::{NewMessage, Thinking, ToolCall, Usage};
use providers::testkit::{Gate, Scripted, Step};
use providers::{Chunk, FinishReason, ProviderError, ProviderErrorKind, ResponseFormat, ToolChoice};
use serde_json::{Value, json};

use crate::support::{Gateway, NOW_MS, answer, error, hi, hi_stream, text_of, with};

const MODEL: &str = "scripted/any";

fn tool() -> Value {
    json!({ "type": "function", "function": { "name": "weather", "description": "d", "parameters": { "type": "object" } } })
}

#[tokio::test]
async fn a_whole_answer_has_the_published_shape() {
    let gateway = Gateway::start().await;
    let usage = Usage { input: 10, output: 3, cache_read: 4, reasoning: 1, ..Usage::default() };
    let chunks = [
        Chunk::Reasoning("hm".into()),
        Chunk::Text("Hello ".into()),
        Chunk::Text("you".into()),
        Chunk::Usage(usage),
        Chunk::Finish(FinishReason::Stop),
    ];
    gateway.scripted.push(Scripted::chunks(chunks));
    let (status, body) = gateway.chat(hi(MODEL)).await;
    let id = body["id"].as_str().unwrap().to_owned();
    assert!(id.strip_prefix("chatcmpl-").is_some_and(|rest| rest.len() == 36), "{id}");
    let expected = json!({
        "id": id, "object": "chat.completion", "created": NOW_MS / 1000, "model": MODEL,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hello you", "refusal": null }, "logprobs": null, "finish_reason": "stop" }],
        "usage": {
            "prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13,
            "prompt_tokens_details": { "cached_tokens": 4 }, "completion_tokens_details": { "reasoning_tokens": 1 },
        },
    });
    assert_eq!((status, body), (200, expected));
}

#[tokio::test]
async fn the_whole_request_reaches_the_model() {
    let gateway = Gateway::start().await;
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let body = json!({
        "model": MODEL, "temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 50, "max_tokens": 7, "stop": ["a", "b"], "seed": 3,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "reasoning_effort": "low", "parallel_tool_calls": false,
        "tools": [tool()], "tool_choice": "required",
        "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": schema, "strict": true } },
        "messages": [
            { "role": "developer", "content": "be brief" }, { "role": "user", "content": "weather?" },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "weather", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "c1", "content": "sunny" },
        ],
    });
    assert_eq!(gateway.chat(body).await.0, 200);
    let seen = gateway.scripted.requests().remove(0);
    let call = ToolCall { id: "c1".into(), name: "weather".into(), arguments: "{}".into() };
    let messages = vec![
        NewMessage::system("be brief"),
        NewMessage::user("weather?"),
        NewMessage { tool_calls: vec![call], ..NewMessage::assistant("") },
        NewMessage::tool_result("c1", "sunny"),
    ];
    assert_eq!((seen.model.as_str(), seen.messages), ("any", messages));
    assert_eq!((seen.tools.len(), seen.tool_choice, seen.parallel_tool_calls), (1, ToolChoice::Required, Some(false)));
    assert_eq!(
        (seen.thinking, seen.sampling.max_output_tokens, seen.sampling.stop),
        (Some(Thinking::Low), Some(50), vec!["a".into(), "b".into()])
    );
    assert_eq!(seen.response_format, Some(ResponseFormat::JsonSchema { name: "x".into(), schema, strict: true }));
}

#[tokio::test]
async fn a_stream_has_the_published_order() {
    let gateway = Gateway::start().await;
    gateway.scripted.push(Scripted::text("Hello you").then(Step::Chunk(Chunk::Text("never".into()))));
    let chunks = gateway.stream(hi_stream(MODEL)).await.rest().await;
    let choices: Vec<Value> = chunks[..chunks.len() - 2].iter().map(|chunk| chunk["choices"][0].clone()).collect();
    let expected = [
        json!({ "index": 0, "delta": { "role": "assistant" }, "finish_reason": null }),
        json!({ "index": 0, "delta": { "content": "Hello " }, "finish_reason": null }),
        json!({ "index": 0, "delta": { "content": "you" }, "finish_reason": null }),
        json!({ "index": 0, "delta": {}, "finish_reason": "stop" }),
    ];
    assert_eq!(choices, expected);
    let usage = &chunks[4];
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(12)));
    assert_eq!(chunks[5], "[DONE]");
    let heads: Vec<_> = chunks[..5]
        .iter()
        .map(|chunk| (chunk["id"].clone(), chunk["created"].clone(), chunk["model"].clone(), chunk["object"].clone()))
        .collect();
    let id = chunks[0]["id"].clone();
    assert_eq!(heads, vec![(id, json!(NOW_MS / 1000), json!(MODEL), json!("chat.completion.chunk")); 5]);
    assert!(chunks[..4].iter().all(|chunk| chunk.get("usage").is_none()));
}

#[tokio::test]
async fn usage_is_told_as_the_client_wishes() {
    let gateway = Gateway::start().await;
    let ask = |include: bool| with(hi_stream(MODEL), json!({ "stream_options": { "include_usage": include } }));
    let chunks = gateway.stream(ask(true)).await.rest().await;
    let (last, earlier) = chunks[..chunks.len() - 1].split_last().unwrap();
    assert!(last["usage"].is_object() && last["choices"] == json!([]));
    assert!(earlier.iter().all(|chunk| chunk.as_object().unwrap().get("usage") == Some(&Value::Null)));
    let chunks = gateway.stream(ask(false)).await.rest().await;
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn calls_of_tools_are_told_whole_and_in_pieces() {
    let gateway = Gateway::start().await;
    let calls = || {
        Scripted::tool_calls([
            ("c1", "weather", json!({ "city": "Oslo" })),
            ("c2", "weather", json!({ "city": "Rome" })),
        ])
    };
    gateway.scripted.push(calls());
    let ask = |fields: Value| with(with(hi(MODEL), json!({ "tools": [tool()] })), fields);
    let (_, body) = gateway.chat(ask(json!({}))).await;
    let choice = &body["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    let call = |id: &str, city: &str| json!({ "id": id, "type": "function", "function": { "name": "weather", "arguments": format!("{{\"city\":\"{city}\"}}") } });
    assert_eq!(choice["message"]["tool_calls"], json!([call("c1", "Oslo"), call("c2", "Rome")]));
    gateway.scripted.push(calls());
    let chunks = gateway.stream(ask(json!({ "stream": true }))).await.rest().await;
    let deltas: Vec<Value> = chunks[1..5].iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect();
    let first = |index: usize, id: &str| json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": { "name": "weather", "arguments": "" } }] });
    let more = |index: usize, city: &str| json!({ "tool_calls": [{ "index": index, "function": { "arguments": format!("{{\"city\":\"{city}\"}}") } }] });
    assert_eq!(deltas, [first(0, "c1"), more(0, "Oslo"), first(1, "c2"), more(1, "Rome")]);
    assert_eq!(chunks[5]["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn the_form_before_tools_is_answered_in_its_own_words() {
    let gateway = Gateway::start().await;
    let ask = |stream: bool| {
        with(hi(MODEL), json!({ "functions": [{ "name": "weather" }], "function_call": "auto", "stream": stream }))
    };
    gateway.scripted.push(Scripted::tool_calls([("c1", "weather", json!({}))]));
    let (_, body) = gateway.chat(ask(false)).await;
    let choice = &body["choices"][0];
    assert_eq!(choice["message"]["function_call"], json!({ "name": "weather", "arguments": "{}" }));
    assert_eq!((&choice["finish_reason"], choice["message"].get("tool_calls")), (&json!("function_call"), None));
    gateway.scripted.push(Scripted::tool_calls([("c1", "weather", json!({}))]));
    let chunks = gateway.stream(ask(true)).await.rest().await;
    assert_eq!(chunks[1]["choices"][0]["delta"], json!({ "function_call": { "name": "weather", "arguments": "" } }));
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "function_call");
}

#[tokio::test]
async fn finish_reasons_are_told() {
    let gateway = Gateway::start().await;
    for (reason, word) in [
        (FinishReason::Length, "length"),
        (FinishReason::ContentFilter, "content_filter"),
        (FinishReason::Stop, "stop"),
    ] {
        gateway.scripted.push(Scripted::chunks([Chunk::Text("x".into()), Chunk::Finish(reason)]));
        let (_, body) = gateway.chat(hi(MODEL)).await;
        assert_eq!(body["choices"][0]["finish_reason"], word);
        // Without the vendor's count both sides are estimated.
        assert_eq!(body["usage"]["total_tokens"], 2);
    }
}

#[tokio::test]
async fn several_answers_are_asked_for_at_once() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    for text in ["one two", "three"] {
        gateway.scripted.push(Scripted::text(text));
    }
    let (_, body) = gateway.chat(with(hi(MODEL), json!({ "n": 2 }))).await;
    let mut texts: Vec<(u64, String)> = body["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| (choice["index"].as_u64().unwrap(), choice["message"]["content"].as_str().unwrap().to_owned()))
        .collect();
    texts.sort();
    assert_eq!(texts, [(0, "one two".to_owned()), (1, "three".to_owned())]);
    assert_eq!(body["usage"]["prompt_tokens"], 20);
    for text in ["a", "b"] {
        gateway.scripted.push(
            Scripted::chunks([Chunk::Text("start ".into())])
                .then_wait(&gate)
                .then_text(text)
                .then_finish(FinishReason::Stop),
        );
    }
    let mut stream = gateway.stream(with(hi_stream(MODEL), json!({ "n": 2 }))).await;
    let roles = [stream.next_chunk().await, stream.next_chunk().await];
    assert_eq!(roles.map(|chunk| chunk["choices"][0]["index"].as_u64().unwrap()), [0, 1]);
    gate.open();
    let chunks = stream.rest().await;
    assert_eq!((text_of(&chunks, 0), text_of(&chunks, 1)), ("start a".into(), "start b".into()));
    let finishes = chunks.iter().filter(|chunk| chunk["choices"][0]["finish_reason"] == "stop").count();
    assert_eq!((finishes, chunks.iter().filter(|chunk| chunk["usage"].is_object()).count()), (2, 1));
}

#[tokio::test]
async fn a_vendors_refusal_keeps_its_status() {
    let gateway = Gateway::start().await;
    let refusal = |kind, status, wait: Option<u64>| {
        let error = ProviderError {
            status: Some(status),
            retry_after: wait.map(Duration::from_secs),
            ..ProviderError::new("x", kind, "no")
        };
        Scripted::Refuse(error)
    };
    for (kind, status, word) in [
        (ProviderErrorKind::BadRequest, 400, "invalid_request_error"),
        (ProviderErrorKind::Auth, 403, "permission_error"),
        (ProviderErrorKind::ModelNotFound, 404, "not_found_error"),
        (ProviderErrorKind::Overloaded, 529, "server_error"),
    ] {
        gateway.scripted.push(refusal(kind, status, None));
        let (seen, body) = gateway.chat(hi_stream(MODEL)).await;
        assert_eq!(
            (seen, &body["error"]["type"], &body["error"]["message"]),
            (status, &json!(word), &json!("scripted: no"))
        );
    }
    gateway.scripted.push(refusal(ProviderErrorKind::RateLimited, 429, Some(120)));
    let response = gateway.post("/v1/chat/completions", hi(MODEL)).await;
    assert_eq!(response.headers()["retry-after"], "120");
    assert_eq!(answer(response).await.1["error"]["type"], "rate_limit_error");
    gateway.scripted.push(Scripted::refuse(ProviderErrorKind::ContextTooLong, "too long"));
    assert_eq!(gateway.chat(hi(MODEL)).await.1["error"]["code"], "context_length_exceeded");
}

#[tokio::test]
async fn an_answer_that_breaks_is_an_error_event_or_a_server_error() {
    let gateway = Gateway::start().await;
    let broken = || Scripted::breaks_after("half an ", ProviderErrorKind::Cut);
    gateway.scripted.push(broken());
    let chunks = gateway.stream(hi_stream(MODEL)).await.rest().await;
    assert_eq!(text_of(&chunks, 0), "half an ");
    assert_eq!(chunks[3..], [error("Internal server error", "server_error", None), json!("[DONE]")]);
    gateway.scripted.push(broken());
    let (status, body) = gateway.chat(hi(MODEL)).await;
    assert_eq!((status, &body["error"]["type"]), (502, &json!("server_error")));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    gateway.scripted.push(Scripted::chunks([Chunk::Text("x".into())]).then_wait(&gate));
    let mut stream = gateway.stream(hi_stream(MODEL)).await;
    stream.next_chunk().await;
    gate.reached().await;
    drop(stream);
    gateway.scripted.wait_for_dropped(1).await;
}

#[tokio::test]
async fn wrong_requests_are_refused_before_anybody_is_asked() {
    let gateway = Gateway::start().await;
    let seen = gateway.chat(with(hi(MODEL), json!({ "temperature": 3, "bogus": 1 }))).await;
    let message = "Invalid request: temperature: Too big: expected number to be <=2; : Unrecognized key: \"bogus\"";
    assert_eq!(seen, (400, error(message, "invalid_request_error", Some("temperature"))));
    let seen = gateway.chat(json!({ "messages": [{ "role": "user", "content": "x" }] })).await;
    assert_eq!(
        seen,
        (
            400,
            error(
                "Invalid request: model: Invalid input: expected string, received undefined",
                "invalid_request_error",
                Some("model")
            )
        )
    );
    let seen = gateway.chat(json!({ "model": MODEL, "messages": [{ "role": "system", "content": "x" }] })).await;
    assert_eq!(seen, (400, error("No user message found in messages array", "invalid_request_error", None)));
    assert_eq!(gateway.scripted.requests().len(), 0);
}
