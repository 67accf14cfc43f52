//! Tools of a client's own beside an agent's.

use std::sync::Arc;

use model::{NewMessage, Reasoning, Role, Scope};
use providers::testkit::{Scripted, Step};
use providers::{ChatRequest, Chunk, FinishReason, ToolChoice};
use serde_json::{Value, json};

use crate::support::{Gateway, Setup, TOKEN, answer, error, hi, hi_stream, rpc, text_of, with};

fn tools() -> Value {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let function = json!({ "name": "weather", "description": "Tells it.", "parameters": parameters });
    json!({ "tools": [{ "type": "function", "function": function }] })
}

fn asks_for_weather(id: &str, city: &str) -> Scripted {
    Scripted::tool_calls([(id, "weather", json!({ "city": city }))])
}

/// An answer that asks for an own tool and a client's.
fn asks_for_both() -> Scripted {
    Scripted::chunks([Chunk::Text("Let me see.".into())])
        .then(Step::Chunk(Chunk::ReasoningBlock(json!({ "signature": "s1" }))))
        .then(Step::Chunk(Chunk::ToolCall { index: 0, id: "c1".into(), name: "current_time".into() }))
        .then(Step::Chunk(Chunk::ToolArguments { index: 0, text: "{}".into() }))
        .then(Step::Chunk(Chunk::ToolCall { index: 1, id: "c2".into(), name: "weather".into() }))
        .then(Step::Chunk(Chunk::ToolArguments { index: 1, text: "{\"city\":\"Rome\"}".into() }))
        .then_finish(FinishReason::ToolCalls)
}

/// The request that answers the calls of `body`'s message with these texts.
fn with_results(body: &Value, results: &[&str]) -> Value {
    let message = &body["choices"][0]["message"];
    let mut messages = vec![json!({ "role": "user", "content": "hi" }), message.clone()];
    for (call, result) in message["tool_calls"].as_array().unwrap().iter().zip(results) {
        messages.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": result }));
    }
    with(with(hi("agent/main"), tools()), json!({ "messages": messages }))
}

/// What the model was asked without the system text: role, text, names of calls, and the call answered.
fn asked(request: &ChatRequest) -> Vec<(Role, String, Vec<String>, Option<String>)> {
    let told = |message: &NewMessage| {
        let calls = message.tool_calls.iter().map(|call| format!("{} {}", call.id, call.name)).collect();
        (message.role, message.content.text().into_owned(), calls, message.tool_call_id.clone())
    };
    request.messages.iter().skip(1).map(told).collect()
}

#[tokio::test]
async fn a_call_of_a_clients_tool_is_the_answer_and_its_result_the_next_question() {
    let gateway = Gateway::start().await;
    gateway.scripted.push(asks_for_weather("c1", "Rome"));
    let (status, body) =
        gateway.chat(with(with(hi("agent/main"), tools()), json!({ "tool_choice": "required" }))).await;
    assert_eq!(status, 200);
    let id = body["choices"][0]["message"]["tool_calls"][0]["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("call_"), "{id}");
    let call =
        json!({ "id": id, "type": "function", "function": { "name": "weather", "arguments": "{\"city\":\"Rome\"}" } });
    let message = json!({ "role": "assistant", "content": null, "refusal": null, "tool_calls": [call] });
    assert_eq!(
        body["choices"],
        json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": "tool_calls" }])
    );
    let request = &gateway.scripted.requests()[0];
    let shown: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert!(shown.contains(&"current_time") && shown.last() == Some(&"weather"), "{shown:?}");
    assert_eq!(request.tool_choice, ToolChoice::Required);

    gateway.scripted.push(Scripted::text("It is sunny."));
    let (status, body) = gateway.chat(with_results(&body, &["sunny"])).await;
    assert_eq!((status, &body["choices"][0]["message"]["content"]), (200, &json!("It is sunny.")));
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let user = (Role::User, "hi".to_owned(), Vec::new(), None);
    let calls = (Role::Assistant, String::new(), vec!["c1 weather".to_owned()], None);
    let result = (Role::Tool, "sunny".to_owned(), Vec::new(), Some("c1".to_owned()));
    assert_eq!(asked(&gateway.scripted.requests()[1]), [user, calls, result]);
}

#[tokio::test]
async fn calls_come_in_a_stream_as_clients_put_them_together() {
    let gateway = Gateway::start().await;
    gateway.scripted.push(Scripted::tool_calls([
        ("c1", "weather", json!({ "city": "Rome" })),
        ("c2", "weather", json!({ "city": "Oslo" })),
    ]));
    let chunks = gateway.stream(with(hi_stream("agent/main"), tools())).await.rest().await;
    let deltas: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"])
        .filter(|delta| delta.get("tool_calls").is_some())
        .collect();
    let id = |at: usize| deltas[at]["tool_calls"][0]["id"].clone();
    let begin = |index: usize, id: Value| json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": { "name": "weather", "arguments": "" } }] });
    let more =
        |index: usize, text: &str| json!({ "tool_calls": [{ "index": index, "function": { "arguments": text } }] });
    assert_ne!(id(0), id(2));
    let expected = [begin(0, id(0)), more(0, "{\"city\":\"Rome\"}"), begin(1, id(2)), more(1, "{\"city\":\"Oslo\"}")];
    assert_eq!(deltas.into_iter().cloned().collect::<Vec<_>>(), expected);
    let tail = &chunks[chunks.len() - 3];
    assert_eq!(tail["choices"], json!([{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }]));
}

#[tokio::test]
async fn own_tools_are_run_first_and_nothing_of_them_is_lost() {
    let gateway = Gateway::start().await;
    gateway.scripted.push(Scripted::tool_calls([("c0", "list_files", json!({}))]));
    gateway.scripted.push(asks_for_both());
    let (_, body) = gateway.chat(with(hi("agent/main"), tools())).await;
    let message = &body["choices"][0]["message"];
    assert_eq!((&message["content"], message["tool_calls"].as_array().unwrap().len()), (&json!("Let me see."), 1));
    assert_eq!(message["tool_calls"][0]["function"]["name"], "weather");
    gateway.scripted.push(Scripted::text("Done."));
    assert_eq!(gateway.chat(with_results(&body, &["sunny"])).await.0, 200);
    let request = &gateway.scripted.requests()[2];
    let course: Vec<(Role, Vec<String>, Option<String>)> =
        asked(request).into_iter().map(|(role, _, calls, answers)| (role, calls, answers)).collect();
    let tool = |id: &str| (Role::Tool, Vec::new(), Some(id.to_owned()));
    let expected = [
        (Role::User, Vec::new(), None),
        (Role::Assistant, vec!["c0 list_files".to_owned()], None),
        tool("c0"),
        (Role::Assistant, vec!["c1 current_time".to_owned(), "c2 weather".to_owned()], None),
        tool("c1"),
        tool("c2"),
    ];
    assert_eq!(course, expected);
    // What the vendor wants to see again is there too, although the client was never told of it.
    let blocks = Some(Reasoning { text: String::new(), blocks: vec![json!({ "signature": "s1" })] });
    assert_eq!(request.messages[4].reasoning, blocks);
    assert_eq!(request.messages.last().unwrap().content.text(), "sunny");
}

#[tokio::test]
async fn steps_that_are_not_known_are_taken_as_the_client_tells_them() {
    let other = "another-token-with-all-that-it-needs";
    let tokens = vec![(TOKEN, rpc(), vec![]), (other, [Scope::Read, Scope::Write].into_iter().collect(), vec![])];
    let gateway = Gateway::with(Setup { tokens, ..Setup::default() }).await;
    gateway.scripted.push(asks_for_both());
    let (_, body) = gateway.chat(with(hi("agent/main"), tools())).await;
    let id = body["choices"][0]["message"]["tool_calls"][0]["id"].as_str().unwrap().to_owned();
    let request = with_results(&body, &[""]);
    let foreign = gateway.request(reqwest::Method::POST, "/v1/chat/completions");
    let mut foreign = foreign.body(request.to_string()).build().unwrap();
    foreign.headers_mut().insert("authorization", format!("Bearer {other}").parse().unwrap());
    gateway.scripted.push(Scripted::text("Done."));
    assert_eq!(answer(reqwest::Client::new().execute(foreign).await.unwrap()).await.0, 200);
    let expected = [
        (Role::User, "hi".to_owned(), Vec::new(), None),
        (Role::Assistant, "Let me see.".to_owned(), vec![format!("{id} weather")], None),
        (Role::Tool, String::new(), Vec::new(), Some(id)),
    ];
    assert_eq!(asked(&gateway.scripted.requests()[1]), expected);
}

#[tokio::test]
async fn several_results_and_words_after_them_are_one_conversation() {
    let gateway = Gateway::start().await;
    let calls = [("c1", "weather", json!({ "city": "Rome" })), ("c2", "weather", json!({ "city": "Oslo" }))];
    gateway.scripted.push(Scripted::tool_calls(calls));
    let (_, body) = gateway.chat(with(hi("agent/main"), tools())).await;
    // The client is free to leave a call without a result, and to say something else.
    let mut request = with_results(&body, &["sunny"]);
    request["messages"].as_array_mut().unwrap().push(json!({ "role": "user", "content": "never mind Oslo" }));
    gateway.scripted.push(Scripted::text("As you like."));
    assert_eq!(gateway.chat(request).await.0, 200);
    let texts: Vec<(Role, String)> =
        asked(&gateway.scripted.requests()[1]).into_iter().map(|(role, text, _, _)| (role, text)).collect();
    let missing = "error: no result of this call was written down".to_owned();
    let expected = [
        (Role::User, "hi".to_owned()),
        (Role::Assistant, String::new()),
        (Role::Tool, "sunny".to_owned()),
        (Role::Tool, missing),
        (Role::User, "never mind Oslo".to_owned()),
    ];
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn a_name_must_mean_one_tool_and_a_result_one_call() {
    let gateway = Gateway::start().await;
    let named = |name: &str| json!({ "type": "function", "function": { "name": name } });
    let refused = |message: &str, param: &str| {
        (400, error(&format!("Invalid request: {message}"), "invalid_request_error", Some(param)))
    };
    let own = with(hi("agent/main"), json!({ "tools": [named("weather"), named("current_time")] }));
    let message = "tools: `current_time` is a tool of the agent `main` itself; give yours another name";
    assert_eq!(gateway.chat(own).await, refused(message, "tools"));
    let twice = with(hi("agent/main"), json!({ "tools": [named("weather"), named("weather")] }));
    assert_eq!(gateway.chat(twice).await, refused("tools: `weather` is there twice", "tools"));
    let legacy = with(hi("agent/main"), json!({ "functions": [{ "name": "ask_user" }] }));
    assert_eq!(gateway.chat(legacy).await.1["error"]["param"], "functions");
    let lost = json!({ "model": "main", "messages": [{ "role": "user", "content": "x" }, { "role": "tool", "tool_call_id": "c9", "content": "y" }] });
    assert_eq!(
        gateway.chat(lost).await,
        refused("messages.1.tool_call_id: no earlier message asks for the call \"c9\"", "messages")
    );
    assert_eq!(gateway.scripted.requests().len(), 0);
}

#[tokio::test]
async fn the_form_before_tools_gives_one_call() {
    let gateway = Gateway::start().await;
    gateway.scripted.push(asks_for_weather("c1", "Rome"));
    let body = with(
        hi_stream("main"),
        json!({ "functions": [{ "name": "weather" }], "function_call": { "name": "weather" } }),
    );
    let chunks = gateway.stream(body).await.rest().await;
    assert_eq!(text_of(&chunks, 0), "");
    let request = &gateway.scripted.requests()[0];
    assert_eq!(
        (&request.tool_choice, request.parallel_tool_calls),
        (&ToolChoice::Named("weather".into()), Some(false))
    );
    let finish = &chunks[chunks.len() - 3]["choices"][0];
    assert_eq!(finish["finish_reason"], "function_call");
}

#[tokio::test]
async fn what_is_answered_in_words_keeps_to_its_form_and_calls_need_not() {
    let gateway = Gateway::start().await;
    let format = json!({ "response_format": { "type": "json_object" } });
    gateway.scripted.push(asks_for_weather("c1", "Rome"));
    let (status, body) = gateway.chat(with(with(hi("agent/main"), tools()), format.clone())).await;
    assert_eq!((status, &body["choices"][0]["finish_reason"]), (200, &json!("tool_calls")));
    gateway.scripted.push(Scripted::text("```json\n{\"sky\":\"blue\"}\n```"));
    let (status, body) = gateway.chat(with(with_results(&body, &["sunny"]), format)).await;
    assert_eq!((status, &body["choices"][0]["message"]["content"]), (200, &json!("{\"sky\":\"blue\"}")));
    let tools = Arc::clone(&gateway.scripted.requests()[1].tools.last().unwrap().parameters);
    assert_eq!(tools["properties"]["city"]["type"], "string");
}
