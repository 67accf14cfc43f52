use std::sync::Arc;

use providers::ProviderKind;
use providers::testkit::{Gate, Piece, Reply, ScriptedServer, Seen};
use serde_json::{Value, json};

use crate::support::{Gateway, Setup, answer, error, hi, hi_stream, openai, provider, text_of, with};

const WHOLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"vendor-model-2026",
 "choices":[{"index":0,"message":{"role":"assistant","content":"\"model\":\"vendor-model-2026\"","vendor":{"model":"inner"}},"finish_reason":"stop"}],
 "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},"x_vendor":{"model":"inner"}}"#;

fn chunk(choices: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":17,\"model\":\"vendor-model-2026\",\"choices\":{choices}}}\n\n"
    )
}

fn role() -> String {
    chunk(r#"[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]"#)
}

fn word(text: &str) -> String {
    chunk(&format!(r#"[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]"#))
}

fn good_stream() -> String {
    let stop = chunk(r#"[{"index":0,"delta":{},"finish_reason":"stop"}]"#);
    let usage = chunk(r#"[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}"#);
    [role(), word("Hel"), word("lo"), stop, usage, "data: [DONE]\n\n".into()].concat()
}

fn failed() -> Value {
    error("Internal server error", "server_error", None)
}

#[tokio::test]
async fn a_whole_answer_goes_through_with_the_clients_name_for_the_model() {
    let gateway = Gateway::start().await;
    gateway.upstream.push(Reply::json(200, WHOLE));
    let body = r#"{"model": "up/org/vendor-model",  "messages":[{"role":"user","content":"hi \u00e9"}], "x_unknown": {"model":"up/x"}, "temperature":0.70}"#;
    let response = gateway.post_text("/v1/chat/completions", body).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let text = response.text().await.unwrap();
    assert_eq!(text, WHOLE.replacen(r#""model":"vendor-model-2026""#, r#""model":"up/org/vendor-model""#, 1));
    let seen = gateway.upstream.last_request().unwrap();
    // Byte for byte but for the name.
    assert_eq!(String::from_utf8(seen.body.clone()).unwrap(), body.replace("up/org/vendor-model", "org/vendor-model"));
    let head = |name: &str| seen.header(name).map(str::to_owned);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/chat/completions"));
    assert_eq!(
        (head("authorization"), head("content-type")),
        (Some("Bearer sk-upstream-secret".into()), Some("application/json".into()))
    );
}

#[tokio::test]
async fn a_stream_goes_through_and_asks_for_usage() {
    let gateway = Gateway::start().await;
    gateway.upstream.push(Reply::sse(good_stream()));
    let response = gateway.post("/v1/chat/completions", hi_stream("up/m")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.text().await.unwrap(), good_stream().replace("vendor-model-2026", "up/m"));
    let sent = gateway.upstream.last_request().unwrap().json();
    assert_eq!(sent, with(hi_stream("m"), json!({ "stream_options": { "include_usage": true } })));
}

#[tokio::test]
async fn a_client_that_wants_no_usage_is_believed() {
    let gateway = Gateway::start().await;
    let without: String = [role(), word("x"), "data: [DONE]\n\n".into()].concat();
    gateway.upstream.push(Reply::sse(without));
    let body = with(hi_stream("up/m"), json!({ "stream_options": { "include_usage": false } }));
    let chunks = gateway.stream(body).await.rest().await;
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(gateway.upstream.last_request().unwrap().json()["stream_options"], json!({ "include_usage": false }));
}

#[tokio::test]
async fn any_network_pieces_tell_the_same() {
    let gateway = Gateway::start().await;
    for bytes in [1, 7, 64, 300] {
        gateway.upstream.push(Reply::sse(good_stream().replace('\n', "\r\n")).in_pieces_of(bytes));
        let response = gateway.post("/v1/chat/completions", hi_stream("up/m")).await;
        assert_eq!(response.text().await.unwrap(), good_stream().replace("vendor-model-2026", "up/m"), "{bytes}");
    }
}

#[tokio::test]
async fn tokens_are_told_as_they_come() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    let held = Reply::sse(role() + &word("first")).then(Piece::Wait(gate.clone()));
    gateway.upstream.push(held.then(Piece::Bytes((word("second") + "data: [DONE]\n\n").into_bytes())));
    let mut stream = gateway.stream(hi_stream("up/m")).await;
    assert_eq!(stream.next_chunk().await["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(stream.next_chunk().await["choices"][0]["delta"]["content"], "first");
    gate.open();
    let rest = stream.rest().await;
    assert_eq!(rest[0]["choices"][0]["delta"]["content"], "second");
    assert_eq!((rest.len(), &rest[3]), (4, &json!("[DONE]")));
}

#[tokio::test]
async fn what_an_upstream_leaves_out_is_told_for_it() {
    let gateway = Gateway::start().await;
    gateway.upstream.push(Reply::sse(word("Hi") + "data: [DONE]\n\n"));
    let chunks = gateway.stream(hi_stream("up/m")).await.rest().await;
    assert_eq!(chunks[0]["choices"], json!([{ "index": 0, "delta": { "role": "assistant" }, "finish_reason": null }]));
    assert_eq!(text_of(&chunks, 0), "Hi");
    assert_eq!(chunks[2]["choices"], json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]));
    assert_eq!((&chunks[3]["choices"], chunks[3]["usage"].is_object()), (&json!([]), true));
    assert!(chunks[..4].iter().all(|chunk| chunk["model"] == "up/m" && chunk["id"] == "chatcmpl-1"));
    assert_eq!(chunks[4], "[DONE]");
}

#[tokio::test]
async fn broken_streams_end_with_the_error_and_done() {
    let gateway = Gateway::start().await;
    let start = || role() + &word("Hel");
    for reply in [
        Reply::sse(start()).then(Piece::Cut),
        Reply::sse(start()),
        Reply::sse(start() + "data: {\"choices\":\n\n" + &word("lo")),
        Reply::sse(start() + &word("lo")[..50]),
    ] {
        gateway.upstream.push(reply);
        let chunks = gateway.stream(hi_stream("up/m")).await.rest().await;
        assert_eq!(text_of(&chunks, 0), "Hel");
        assert_eq!(chunks[2..], [failed(), json!("[DONE]")]);
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_stream_is_told_as_a_stream() {
    let gateway = Gateway::start().await;
    let calls = r#"{"id":"c","created":3,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"total_tokens":9}}"#;
    gateway.upstream.push(Reply::json(200, calls));
    let chunks = gateway.stream(hi_stream("up/m")).await.rest().await;
    assert_eq!(chunks.len(), 4);
    assert_eq!(chunks[0]["choices"][0]["delta"]["tool_calls"][0]["index"], 0);
    assert_eq!(chunks[1]["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!((&chunks[2]["usage"]["total_tokens"], &chunks[2]["model"]), (&json!(9), &json!("up/m")));
}

#[tokio::test]
async fn refusals_reach_the_client_with_status_wait_and_words() {
    let gateway = Gateway::start().await;
    for stream in [false, true] {
        let body = with(hi("up/m"), json!({ "stream": stream }));
        let words = r#"{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
        gateway.upstream.push(Reply::json(429, words).header("retry-after", "17"));
        let response = gateway.post("/v1/chat/completions", body.clone()).await;
        assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "17"));
        assert_eq!(response.text().await.unwrap(), words);
        gateway.upstream.push(Reply::new(503, "text/html", "<html>busy</html>"));
        let seen = gateway.chat(body.clone()).await;
        assert_eq!(seen, (503, error("Service Unavailable", "server_error", None)));
        gateway.upstream.push(Reply::json(404, r#"{"error":"model 'm' not found"}"#));
        let seen = gateway.chat(body.clone()).await;
        assert_eq!(seen, (404, error("model 'm' not found", "not_found_error", None)));
        gateway.upstream.push(Reply::new(301, "text/plain", "").header("location", "https://elsewhere"));
        assert_eq!(gateway.chat(body).await.0, 502);
    }
}

#[tokio::test]
async fn a_key_that_an_upstream_repeats_is_not_passed_on() {
    let gateway = Gateway::start().await;
    gateway.upstream.push(Reply::json(
        401,
        r#"{"error":{"message":"wrong key sk-upstream-secret","type":"t","param":null,"code":null}}"#,
    ));
    let response = gateway.post("/v1/chat/completions", hi("up/m")).await;
    assert_eq!(response.status(), 401);
    assert!(!response.text().await.unwrap().contains("sk-upstream-secret"));
}

#[tokio::test]
async fn an_upstream_that_is_not_there_or_talks_nonsense_is_a_server_error() {
    let nowhere = ScriptedServer::nowhere().await;
    let gateway = Gateway::with(Setup { more: vec![openai("gone", &nowhere)], ..Setup::default() }).await;
    let (status, body) = gateway.chat(hi("gone/m")).await;
    assert_eq!((status, &body["error"]["type"]), (502, &json!("server_error")));
    for reply in
        [Reply::json(200, "nonsense"), Reply::json(200, "[]"), Reply::json(200, "{\"model\":").then(Piece::Cut)]
    {
        gateway.upstream.push(reply);
        let (status, body) = gateway.chat(hi("up/m")).await;
        assert_eq!((status, &body["error"]["type"]), (502, &json!("server_error")));
    }
}

#[tokio::test]
async fn only_what_decides_about_the_answers_form_is_checked() {
    let gateway = Gateway::start().await;
    for (fields, message, param) in [
        (
            json!({ "messages": [] }),
            "Invalid request: messages: Too small: expected array to have >=1 items",
            "messages",
        ),
        (json!({ "messages": "x" }), "Invalid request: messages: Invalid input: expected array", "messages"),
        (json!({ "stream": 1 }), "Invalid request: stream: Invalid input: expected boolean", "stream"),
    ] {
        let seen = gateway.chat(with(hi("up/m"), fields)).await;
        assert_eq!(seen, (400, error(message, "invalid_request_error", Some(param))));
    }
    let (status, body) = gateway.chat(json!({ "model": "up/m" })).await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("messages")));
    let twice = r#"{"model":"up/a","model":"up/b","messages":[{"role":"user","content":"x"}]}"#;
    let seen = answer(gateway.post_text("/v1/chat/completions", twice).await).await;
    assert_eq!(seen, (400, error("Invalid JSON body", "invalid_request_error", None)));
    assert_eq!(gateway.upstream.requests().len(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_takes_the_upstream_with_it() {
    let gateway = Arc::new(Gateway::start().await);
    // In the middle of a stream.
    gateway.upstream.push(Reply::sse(role()).then(Piece::Hang));
    let mut stream = gateway.stream(hi_stream("up/m")).await;
    stream.next_chunk().await;
    drop(stream);
    gateway.upstream.wait_for_aborted(1).await;
    // Before the answer has begun.
    gateway.upstream.push(Reply::silence());
    let waiting = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.chat(hi("up/m")).await }
    });
    gateway.upstream.wait_for_requests(2).await;
    waiting.abort();
    gateway.upstream.wait_for_aborted(2).await;
}

#[tokio::test]
async fn connections_to_the_upstream_are_used_again() {
    let gateway = Gateway::start().await;
    for _ in 0..5 {
        gateway.upstream.push(Reply::sse(good_stream()));
        gateway.upstream.push(Reply::json(200, WHOLE));
        assert_eq!(gateway.stream(hi_stream("up/m")).await.rest().await.len(), 6);
        assert_eq!(gateway.chat(hi("up/m")).await.0, 200);
    }
    assert_eq!(gateway.upstream.accepted_connections(), 1);
}

#[tokio::test]
async fn several_answers_of_one_request_go_through() {
    let gateway = Gateway::start().await;
    let second = chunk(r#"[{"index":1,"delta":{"content":"Moin"},"finish_reason":null}]"#);
    let stop =
        chunk(r#"[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":"length"}]"#);
    gateway.upstream.push(Reply::sse([word("Hi"), second, stop, "data: [DONE]\n\n".into()].concat()));
    let chunks = gateway.stream(with(hi_stream("up/m"), json!({ "n": 2 }))).await.rest().await;
    assert_eq!((text_of(&chunks, 0), text_of(&chunks, 1)), ("Hi".into(), "Moin".into()));
    let roles = chunks.iter().filter(|chunk| chunk["choices"][0]["delta"]["role"] == "assistant").count();
    assert_eq!(
        (roles, gateway.upstream.last_request().map(|seen: Seen| seen.json()["n"].clone())),
        (2, Some(json!(2)))
    );
}

#[tokio::test]
async fn providers_of_other_wires_are_not_passed_through() {
    let vendor = ScriptedServer::start().await;
    let anthropic = provider("claude", ProviderKind::Anthropic, vendor.base_url());
    let gateway = Gateway::with(Setup { more: vec![anthropic], ..Setup::default() }).await;
    vendor.push(Reply::sse(providers::testkit::fixtures::anthropic().text.body));
    let (status, body) = gateway.chat(hi("claude/any-model")).await;
    assert_eq!((status, &body["model"], &body["object"]), (200, &json!("claude/any-model"), &json!("chat.completion")));
    assert_eq!(vendor.last_request().unwrap().target, "/v1/messages");
    vendor.push(
        Reply::json(529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#)
            .header("retry-after", "3"),
    );
    let response = gateway.post("/v1/chat/completions", hi("claude/any-model")).await;
    assert_eq!(response.headers()["retry-after"], "3");
    let (status, body) = answer(response).await;
    assert_eq!((status, &body["error"]["type"]), (529, &json!("server_error")));
}
