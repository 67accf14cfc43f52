use std::sync::Arc;

use dialect_openai::UnknownModel;
use model::{AgentId, NewMessage, Role, SessionKey, Thinking};
use providers::testkit::{Gate, Reply, Scripted};
use providers::{Chunk, FinishReason, ProviderErrorKind};
use serde_json::{Value, json};
use services::Limits;

use crate::support::{Gateway, Setup, error, hi, hi_stream, text_of, with};

#[tokio::test]
async fn an_agents_turn_is_an_answer() {
    let gateway = Gateway::start().await;
    for model in ["agent/main", "main", "gpt-4o", "nobody/x"] {
        gateway.scripted.push(Scripted::text("Hello there"));
        let (status, body) = gateway.chat(hi(model)).await;
        assert_eq!((status, &body["model"], &body["object"]), (200, &json!(model), &json!("chat.completion")));
        assert_eq!(
            body["choices"][0]["message"],
            json!({ "role": "assistant", "content": "Hello there", "refusal": null })
        );
        assert_eq!(
            (&body["choices"][0]["finish_reason"], &body["usage"]["prompt_tokens"]),
            (&json!("stop"), &json!(10))
        );
    }
}

#[tokio::test]
async fn unknown_models_can_be_rejected() {
    let gateway = Gateway::with(Setup { unknown_model: UnknownModel::Reject, ..Setup::default() }).await;
    for model in ["gpt-4o", "nobody/x", "agent/nobody", "off", "up/"] {
        let message = format!("Model not found: {model}");
        assert_eq!(gateway.chat(hi(model)).await, (404, error(&message, "not_found_error", None)));
    }
    assert_eq!(gateway.chat(hi("main")).await.0, 200);
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_never_answered_by_another() {
    let gateway = Gateway::start().await;
    for model in ["agent/nobody", "agent/off", "agent/"] {
        assert_eq!(gateway.chat(hi(model)).await.0, 404, "{model}");
    }
}

#[tokio::test]
async fn the_whole_conversation_reaches_the_model_and_nothing_is_remembered() {
    let gateway = Gateway::start().await;
    let body = json!({
        "model": "agent/main", "max_tokens": 77, "temperature": 0.25, "reasoning_effort": "high",
        "messages": [
            { "role": "system", "content": "first rule" }, { "role": "user", "content": "one" }, { "role": "assistant", "content": "two" },
            { "role": "developer", "content": "second rule" }, { "role": "user", "content": "three" },
        ],
    });
    let (status, answer) = gateway.chat(body).await;
    assert_eq!(status, 200);
    assert_eq!(gateway.chat(hi("agent/main")).await.0, 200);
    let requests = gateway.scripted.requests();
    let conversation = |index: usize| -> Vec<(Role, String)> {
        let messages: &[NewMessage] = &requests[index].messages;
        messages.iter().skip(1).map(|message| (message.role, message.content.text().into_owned())).collect()
    };
    let expected =
        [(Role::User, "one".to_owned()), (Role::Assistant, "two".to_owned()), (Role::User, "three".to_owned())];
    assert_eq!(conversation(0), expected);
    let system = requests[0].messages[0].content.text().into_owned();
    assert!(system.contains("You are a test.") && system.contains("first rule\nsecond rule"), "{system}");
    assert_eq!(
        (requests[0].sampling.max_output_tokens, requests[0].sampling.temperature, requests[0].thinking),
        (Some(77), Some(0.25), Some(Thinking::High))
    );
    assert_eq!(conversation(1), [(Role::User, "hi".to_owned())]);
    gateway.idle().await;
    let session =
        SessionKey::of_agent(&AgentId::main(), &format!("ephemeral:{}", answer["id"].as_str().unwrap())).unwrap();
    assert_eq!(gateway.services.sessions.get(&session).await.unwrap(), None);
}

#[tokio::test]
async fn the_role_is_told_before_the_model_is_asked() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    gateway.scripted.push(Scripted::held(&gate, "Hello you"));
    let mut stream = gateway.stream(hi_stream("agent/main")).await;
    let first = stream.next_chunk().await;
    assert_eq!(first["choices"], json!([{ "index": 0, "delta": { "role": "assistant" }, "finish_reason": null }]));
    gate.reached().await;
    gate.open();
    let chunks = stream.rest().await;
    assert_eq!(text_of(&chunks, 0), "Hello you");
    let tail: Vec<Value> = chunks[chunks.len() - 3..].to_vec();
    assert_eq!(tail[0]["choices"], json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]));
    assert_eq!(
        (&tail[1]["choices"], tail[1]["usage"]["total_tokens"].is_u64(), &tail[2]),
        (&json!([]), true, &json!("[DONE]"))
    );
}

#[tokio::test]
async fn no_token_is_lost_on_a_reader_that_lags() {
    let gateway = Gateway::start().await;
    let words: Vec<String> = (0..5000).map(|n| format!("w{n} ")).collect();
    let chunks = words.iter().map(|word| Chunk::Text(word.clone())).chain([Chunk::Finish(FinishReason::Stop)]);
    gateway.scripted.push(Scripted::chunks(chunks));
    let stream = gateway.stream(hi_stream("agent/main")).await;
    gateway.idle().await;
    assert_eq!(text_of(&stream.rest().await, 0), words.concat());
}

#[tokio::test]
async fn agents_run_their_own_tools() {
    let gateway = Gateway::start().await;
    gateway.scripted.push(
        Scripted::chunks([Chunk::Text("Let me look.".into())])
            .then(providers::testkit::Step::Chunk(Chunk::ToolCall {
                index: 0,
                id: "c1".into(),
                name: "current_time".into(),
            }))
            .then_finish(FinishReason::ToolCalls),
    );
    gateway.scripted.push(Scripted::text("It is late."));
    let chunks = gateway.stream(hi_stream("agent/main")).await.rest().await;
    assert_eq!(text_of(&chunks, 0), "Let me look.\n\nIt is late.");
    assert!(chunks.iter().all(|chunk| chunk["choices"][0]["delta"].get("tool_calls").is_none()));
}

#[tokio::test]
async fn a_question_of_the_agent_is_its_answer() {
    let gateway = Gateway::start().await;
    gateway.scripted.push(Scripted::tool_calls([(
        "c1",
        "ask_user",
        json!({ "prompt": "Which one?", "options": ["a", "b"] }),
    )]));
    let (status, body) = gateway.chat(hi("agent/main")).await;
    assert_eq!((status, &body["choices"][0]["message"]["content"]), (200, &json!("Which one?\n- a\n- b")));
    gateway.idle().await;
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_turn() {
    let gateway = Arc::new(Gateway::start().await);
    let gate = Gate::new();
    gateway.scripted.push(Scripted::chunks([Chunk::Text("x ".into())]).then_wait(&gate));
    let mut stream = gateway.stream(hi_stream("agent/main")).await;
    stream.next_chunk().await;
    gate.reached().await;
    drop(stream);
    gateway.scripted.wait_for_dropped(1).await;
    gateway.idle().await;
    // One that waits for the whole answer.
    let gate = Gate::new();
    gateway.scripted.push(Scripted::held(&gate, "never"));
    let waiting = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.chat(hi("agent/main")).await }
    });
    gate.reached().await;
    waiting.abort();
    gateway.scripted.wait_for_dropped(2).await;
    gateway.idle().await;
}

#[tokio::test]
async fn failures_before_and_after_the_start_are_told_as_published() {
    let gateway = Gateway::start().await;
    let failed = error("Internal server error", "server_error", None);
    gateway.scripted.push(Scripted::refuse(ProviderErrorKind::Auth, "wrong key"));
    assert_eq!(gateway.chat(hi("agent/main")).await, (500, failed.clone()));
    gateway.scripted.push(Scripted::breaks_after("half ", ProviderErrorKind::Cut));
    let chunks = gateway.stream(hi_stream("agent/main")).await.rest().await;
    assert_eq!(text_of(&chunks, 0), "half ");
    assert_eq!(chunks[chunks.len() - 2..], [failed, json!("[DONE]")]);
    assert!(chunks.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
}

#[tokio::test]
async fn limits_are_finish_reasons() {
    let gateway =
        Gateway::with(Setup { limits: Limits { max_iterations: 1, ..Limits::default() }, ..Setup::default() }).await;
    gateway.scripted.push(Scripted::tool_calls([("c1", "current_time", json!({}))]));
    let (status, body) = gateway.chat(hi("agent/main")).await;
    assert_eq!((status, &body["choices"][0]["finish_reason"]), (200, &json!("length")));
    gateway.scripted.push(Scripted::chunks([Chunk::Text("cut".into()), Chunk::Finish(FinishReason::Length)]));
    assert_eq!(gateway.chat(hi("agent/main")).await.1["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn several_turns_run_side_by_side() {
    let gateway = Gateway::start().await;
    gateway.scripted.push(Scripted::text("one"));
    gateway.scripted.push(Scripted::text("two"));
    let (_, body) = gateway.chat(with(hi("agent/main"), json!({ "n": 2 }))).await;
    let mut texts: Vec<&str> = body["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["message"]["content"].as_str().unwrap())
        .collect();
    texts.sort_unstable();
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test]
async fn an_agent_is_told_of_the_form_and_kept_to_it() {
    let gateway = Gateway::start().await;
    let schema = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } });
    let format =
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": schema } } });
    gateway.scripted.push(Scripted::text("```json\n{\"a\": 1}\n```"));
    let (status, body) = gateway.chat(with(hi("main"), format.clone())).await;
    assert_eq!((status, &body["choices"][0]["message"]["content"]), (200, &json!("{\"a\": 1}")));
    let system = gateway.scripted.requests()[0].messages[0].content.text().into_owned();
    assert!(system.contains("JSON Schema"), "{system}");
    gateway.scripted.push(Scripted::text("no json"));
    let (status, body) = gateway.chat(with(hi("main"), format)).await;
    assert_eq!((status, &body["error"]["type"]), (500, &json!("server_error")));
}

#[tokio::test]
async fn an_agent_may_have_a_model_of_a_provider_of_this_api() {
    let gateway = Gateway::start().await;
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    gateway.upstream.push(Reply::sse(stream));
    let (status, body) = gateway.chat(hi("agent/second")).await;
    assert_eq!((status, &body["choices"][0]["message"]["content"]), (200, &json!("Hi")));
    let sent = gateway.upstream.last_request().unwrap().json();
    assert_eq!((&sent["model"], &sent["messages"][0]["role"]), (&json!("vendor-model"), &json!("system")));
}

#[tokio::test]
async fn an_empty_message_asks_nothing() {
    let gateway = Gateway::start().await;
    let body =
        json!({ "model": "main", "messages": [{ "role": "user", "content": "x" }, { "role": "user", "content": "" }] });
    assert_eq!(
        gateway.chat(body).await,
        (400, error("No user message found in messages array", "invalid_request_error", None))
    );
}
