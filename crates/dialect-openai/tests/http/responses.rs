//! `/v1/responses`: items, events, what is kept and how it is gone on with.

use std::collections::HashMap;

use model::{NewMessage, Part, Role, ToolCall, Usage};
use providers::testkit::{Gate, Reply, Scripted, Step};
use providers::{ChatRequest, Chunk, FinishReason, ProviderErrorKind, ResponseFormat, ToolChoice};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Gateway, NOW_MS, Setup, TOKEN, answer, error, rpc, with};

const MODEL: &str = "scripted/any";
const OTHER: &str = "another-token-with-all-that-it-needs";

fn say(model: &str, input: &str) -> Value {
    json!({ "model": model, "input": input })
}

fn weather() -> Value {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    json!([{ "type": "function", "name": "weather", "description": "d", "parameters": parameters, "strict": true }])
}

async fn events(gateway: &Gateway, body: Value) -> Vec<Value> {
    gateway.stream_of("/v1/responses", with(body, json!({ "stream": true }))).await.rest().await
}

/// The events with their ids replaced by what they are the first, second … of.
fn nameless(events: &[Value]) -> Vec<Value> {
    fn walk(value: &mut Value, names: &mut HashMap<String, String>) {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(|value| walk(value, names)),
            Value::Array(items) => items.iter_mut().for_each(|value| walk(value, names)),
            Value::String(text) => {
                let prefix = ["msg_", "fc_", "rs_", "resp_"].into_iter().find(|prefix| text.starts_with(prefix));
                if let Some(prefix) = prefix.filter(|prefix| text.len() == prefix.len() + 36) {
                    let number = names.keys().filter(|known| known.starts_with(prefix)).count() + 1;
                    let name = names.entry(text.clone()).or_insert_with(|| format!("{prefix}{number}"));
                    *text = name.clone();
                }
            }
            _ => {}
        }
    }
    let mut names = HashMap::new();
    let mut events = events.to_vec();
    events.iter_mut().for_each(|event| walk(event, &mut names));
    events
}

fn object(model: &str) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": NOW_MS / 1000, "status": "in_progress", "error": null,
        "incomplete_details": null, "instructions": null, "max_output_tokens": null, "model": model, "output": [],
        "parallel_tool_calls": true, "previous_response_id": null, "reasoning": { "effort": null, "summary": null },
        "store": true, "temperature": null, "text": { "format": { "type": "text" } }, "tool_choice": "auto",
        "tools": [], "top_p": null, "truncation": "disabled", "usage": null, "user": null, "metadata": {},
    })
}

fn usage(input: u64, output: u64) -> Value {
    json!({
        "input_tokens": input, "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": output, "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": input + output,
    })
}

fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn message(id: &str, text: &str) -> Value {
    json!({ "type": "message", "id": id, "role": "assistant", "status": "completed", "content": [text_part(text)] })
}

fn numbered(events: Vec<Value>) -> Vec<Value> {
    let number = |(index, event): (usize, Value)| with(event, json!({ "sequence_number": index }));
    events.into_iter().enumerate().map(number).chain([json!("[DONE]")]).collect()
}

fn conversation(request: &ChatRequest) -> Vec<NewMessage> {
    request.messages.clone()
}

#[tokio::test]
async fn a_whole_answer_has_the_published_shape() {
    let gateway = Gateway::start().await;
    for model in [MODEL, "agent/main", "up/vendor-model"] {
        gateway.scripted.push(Scripted::text("Hello you"));
        gateway.upstream.push(Reply::sse(concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello you\"},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n"
        )));
        let (status, body) = gateway.respond(say(model, "hi")).await;
        assert!(body["id"].as_str().unwrap().strip_prefix("resp_").is_some_and(|rest| rest.len() == 36), "{body}");
        let output = json!([message("msg_1", "Hello you")]);
        let expected = with(object(model), json!({ "status": "completed", "output": output, "usage": usage(10, 2) }));
        assert_eq!((status, nameless(&[body])), (200, vec![expected]), "{model}");
    }
}

#[tokio::test]
async fn a_stream_has_the_published_order() {
    let gateway = Gateway::start().await;
    for model in [MODEL, "agent/main"] {
        gateway.scripted.push(Scripted::text("Hello you"));
        let seen = events(&gateway, say(model, "hi")).await;
        let at = json!({ "item_id": "msg_1", "output_index": 0, "content_index": 0 });
        let delta = |text: &str| {
            with(at.clone(), json!({ "type": "response.output_text.delta", "delta": text, "logprobs": [] }))
        };
        let begun =
            json!({ "type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": [] });
        let item = message("msg_1", "Hello you");
        let end = with(object(model), json!({ "status": "completed", "output": [item], "usage": usage(10, 2) }));
        let expected = vec![
            json!({ "type": "response.created", "response": object(model) }),
            json!({ "type": "response.in_progress", "response": object(model) }),
            json!({ "type": "response.output_item.added", "output_index": 0, "item": begun }),
            with(at.clone(), json!({ "type": "response.content_part.added", "part": text_part("") })),
            delta("Hello "),
            delta("you"),
            with(at.clone(), json!({ "type": "response.output_text.done", "text": "Hello you", "logprobs": [] })),
            with(at.clone(), json!({ "type": "response.content_part.done", "part": text_part("Hello you") })),
            json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
            json!({ "type": "response.completed", "response": end }),
        ];
        assert_eq!(nameless(&seen), numbered(expected), "{model}");
        let id = seen[0]["response"]["id"].as_str().unwrap();
        let (status, kept) = gateway.get(&format!("/v1/responses/{id}")).await;
        assert_eq!((status, &kept), (200, &seen[9]["response"]));
    }
}

#[tokio::test]
async fn a_response_is_told_of_before_an_agents_model_is_asked() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    gateway.scripted.push(Scripted::held(&gate, "Hello you"));
    let body = with(say("agent/main", "hi"), json!({ "stream": true }));
    let mut stream = gateway.stream_of("/v1/responses", body).await;
    assert_eq!(stream.next_chunk().await["type"], "response.created");
    assert_eq!(stream.next_chunk().await["type"], "response.in_progress");
    gate.reached().await;
    gate.open();
    let rest = stream.rest().await;
    assert_eq!(rest[rest.len() - 2]["response"]["output"][0]["content"][0]["text"], "Hello you");
}

#[tokio::test]
async fn calls_are_items_whose_arguments_come_in_pieces() {
    let gateway = Gateway::start().await;
    for model in [MODEL, "agent/main"] {
        gateway.scripted.push(
            Scripted::chunks([Chunk::Text("Let me see.".into())])
                .then(Step::Chunk(Chunk::ToolCall { index: 0, id: "c1".into(), name: "weather".into() }))
                .then(Step::Chunk(Chunk::ToolArguments { index: 0, text: "{\"city\":\"Rome\"}".into() }))
                .then_finish(FinishReason::ToolCalls),
        );
        let body = with(say(model, "hi"), json!({ "tools": weather(), "tool_choice": "required" }));
        let seen = events(&gateway, body).await;
        let call_id = seen[8]["item"]["call_id"].clone();
        assert!(model == "agent/main" || call_id == "c1", "{seen:?}");
        let item = |arguments: &str, status: &str| {
            json!({
                "type": "function_call", "id": "fc_1", "call_id": call_id, "name": "weather",
                "arguments": arguments, "status": status,
            })
        };
        let arguments = "{\"city\":\"Rome\"}";
        let at = json!({ "item_id": "fc_1", "output_index": 1 });
        let done = with(at.clone(), json!({ "name": "weather", "arguments": arguments }));
        let expected = [
            json!({ "type": "response.output_item.done", "output_index": 0, "item": message("msg_1", "Let me see.") }),
            json!({ "type": "response.output_item.added", "output_index": 1, "item": item("", "in_progress") }),
            with(at, json!({ "type": "response.function_call_arguments.delta", "delta": arguments })),
            with(done, json!({ "type": "response.function_call_arguments.done" })),
            json!({ "type": "response.output_item.done", "output_index": 1, "item": item(arguments, "completed") }),
        ];
        let number = |(index, event)| with(event, json!({ "sequence_number": index + 7 }));
        let expected: Vec<Value> = expected.into_iter().enumerate().map(number).collect();
        assert_eq!(nameless(&seen)[7..12], expected, "{model}");
        let end = &nameless(&seen)[12];
        assert_eq!((&end["type"], &end["response"]["status"]), (&json!("response.completed"), &json!("completed")));
        let output = json!([message("msg_1", "Let me see."), item(arguments, "completed")]);
        assert_eq!((&end["response"]["output"], &end["response"]["tools"]), (&output, &weather()));
        assert_eq!(end["response"]["tool_choice"], "required");
    }
}

#[tokio::test]
async fn results_of_calls_go_on_from_the_previous_response() {
    let gateway = Gateway::start().await;
    for model in [MODEL, "agent/main"] {
        let calls = [("c1", "weather", json!({ "city": "Rome" })), ("c2", "weather", json!({ "city": "Oslo" }))];
        gateway.scripted.push(Scripted::tool_calls(calls));
        let first = with(say(model, "hi"), json!({ "tools": weather(), "instructions": "be brief" }));
        let (_, first) = gateway.respond(first).await;
        let results: Vec<Value> = first["output"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "sunny" }))
            .collect();
        assert_eq!(results.len(), 2);
        gateway.scripted.push(Scripted::text("Sunny."));
        let second = json!({ "model": model, "previous_response_id": first["id"], "input": results });
        let (status, second) = gateway.respond(second).await;
        assert_eq!((status, &second["output"][0]["content"][0]["text"]), (200, &json!("Sunny.")));
        assert_eq!(second["previous_response_id"], first["id"]);
        gateway.scripted.push(Scripted::text("Bye."));
        let third = with(say(model, "thanks"), json!({ "previous_response_id": second["id"] }));
        assert_eq!(gateway.respond(third).await.0, 200);

        let requests = gateway.scripted.requests();
        let asked = conversation(&requests[requests.len() - 1]);
        let said: Vec<(Role, String, usize)> = asked
            .iter()
            .filter(|message| message.role != Role::System)
            .map(|message| (message.role, message.content.text().into_owned(), message.tool_calls.len()))
            .collect();
        let expected = [
            (Role::User, "hi".to_owned(), 0),
            (Role::Assistant, String::new(), 2),
            (Role::Tool, "sunny".to_owned(), 0),
            (Role::Tool, "sunny".to_owned(), 0),
            (Role::Assistant, "Sunny.".to_owned(), 0),
            (Role::User, "thanks".to_owned(), 0),
        ];
        assert_eq!(said, expected, "{model}");
        // Instructions are of the one answer alone.
        let texts = |request: &ChatRequest| format!("{:?}", request.messages);
        assert!(texts(&requests[requests.len() - 3]).contains("be brief"));
        assert!(!texts(&requests[requests.len() - 2]).contains("be brief"));
    }
}

#[tokio::test]
async fn a_conversation_can_be_sent_as_items() {
    let gateway = Gateway::start().await;
    gateway.scripted.push(Scripted::text("Known."));
    let (_, first) = gateway.respond(say(MODEL, "hi")).await;
    gateway.scripted.push(Scripted::text("ok"));
    let body = json!({
        "model": MODEL, "instructions": "first", "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 50,
        "reasoning": { "effort": "low" }, "parallel_tool_calls": false, "tools": weather(),
        "tool_choice": { "type": "function", "name": "weather" },
        "text": { "format": { "type": "json_schema", "name": "x", "schema": { "type": "object" }, "strict": true } },
        "metadata": { "a": "b" }, "user": "u", "store": false, "truncation": "auto", "include": ["reasoning.encrypted_content"],
        "input": [
            { "role": "developer", "content": "second" },
            { "role": "user", "content": [
                { "type": "input_text", "text": "look" }, { "type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto" },
            ] },
            { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x" },
            { "type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{ "type": "output_text", "text": "I see", "annotations": [] }] },
            { "type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{}", "status": "completed" },
            { "type": "function_call_output", "call_id": "c1", "output": [{ "type": "input_text", "text": "sunny" }] },
            { "type": "item_reference", "id": first["output"][0]["id"] },
            { "role": "user", "content": "and now?" },
        ],
    });
    let (status, body) = gateway.respond(body).await;
    // The form is the model's own matter here: the provider carries it.
    assert_eq!(status, 200, "{body}");
    let seen = gateway.scripted.requests().remove(1);
    let call = ToolCall { id: "c1".into(), name: "weather".into(), arguments: "{}".into() };
    let picture = Part::Image { mime_type: "image/png".into(), data: Some("AAAA".into()), url: None };
    let parts = model::Content::from(vec![Part::Text { text: "look".into() }, picture]);
    let expected = vec![
        NewMessage::system("first"),
        NewMessage::system("second"),
        NewMessage::user(parts),
        NewMessage { tool_calls: vec![call], ..NewMessage::assistant("I see") },
        NewMessage::tool_result("c1", "sunny"),
        NewMessage::assistant("Known."),
        NewMessage::user("and now?"),
    ];
    assert_eq!(seen.messages, expected);
    assert_eq!((seen.tool_choice, seen.parallel_tool_calls), (ToolChoice::Named("weather".into()), Some(false)));
    let schema = ResponseFormat::JsonSchema { name: "x".into(), schema: json!({ "type": "object" }), strict: true };
    assert_eq!((seen.sampling.max_output_tokens, seen.response_format), (Some(50), Some(schema)));
    let echo = json!({
        "instructions": "first", "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 50,
        "parallel_tool_calls": false, "reasoning": { "effort": "low", "summary": null }, "metadata": { "a": "b" },
        "user": "u", "store": false, "truncation": "auto", "tool_choice": { "type": "function", "name": "weather" },
    });
    for (key, value) in echo.as_object().unwrap() {
        assert_eq!(&body[key], value, "{key}");
    }
    assert_eq!(body["text"]["format"]["type"], "json_schema");
    let (status, _) = gateway.get(&format!("/v1/responses/{}", body["id"].as_str().unwrap())).await;
    assert_eq!(status, 404, "it asked not to be kept");
}

#[tokio::test]
async fn a_response_is_its_tokens_alone() {
    let tokens = vec![(TOKEN, rpc(), vec![]), (OTHER, rpc(), vec![])];
    let gateway = Gateway::with(Setup { tokens, ..Setup::default() }).await;
    let (_, body) = gateway.respond(say("agent/main", "hi")).await;
    let id = body["id"].as_str().unwrap();
    let path = format!("/v1/responses/{id}");
    let foreign = async |method: Method, path: &str, body: Option<Value>| {
        let request = gateway.request(method, path).body(body.map(|body| body.to_string()).unwrap_or_default());
        let mut request = request.build().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {OTHER}").parse().unwrap());
        answer(reqwest::Client::new().execute(request).await.unwrap()).await
    };
    let lost = (404, error(&format!("Response with id '{id}' not found."), "not_found_error", None));
    assert_eq!(foreign(Method::GET, &path, None).await, lost);
    assert_eq!(foreign(Method::DELETE, &path, None).await, lost);
    let go_on = with(say("agent/main", "more"), json!({ "previous_response_id": id }));
    let mut refused = error(
        &format!("Previous response with id '{id}' not found."),
        "invalid_request_error",
        Some("previous_response_id"),
    );
    refused["error"]["code"] = json!("previous_response_not_found");
    assert_eq!(foreign(Method::POST, "/v1/responses", Some(go_on.clone())).await, (400, refused.clone()));
    let item = body["output"][0]["id"].as_str().unwrap();
    let referring = json!({ "model": "agent/main", "input": [{ "id": item }, { "role": "user", "content": "x" }] });
    let (status, told) = foreign(Method::POST, "/v1/responses", Some(referring)).await;
    let message = format!("Invalid request: input.0.id: Item with id '{item}' not found.");
    assert_eq!((status, told), (400, error(&message, "invalid_request_error", Some("input"))));

    assert_eq!(gateway.get(&path).await, (200, body.clone()));
    assert_eq!(gateway.get(&format!("{path}?stream=true")).await.0, 400);
    let deleted = answer(gateway.request(Method::DELETE, &path).send().await.unwrap()).await;
    assert_eq!(deleted, (200, json!({ "id": id, "object": "response", "deleted": true })));
    assert_eq!(gateway.get(&path).await, lost);
    assert_eq!(gateway.respond(go_on).await, (400, refused));
}

#[tokio::test]
async fn thoughts_are_items_when_they_are_asked_for() {
    let gateway = Gateway::start().await;
    for model in [MODEL, "agent/main"] {
        let thinks = || Scripted::chunks([]).then_reasoning("hm").then_text("yes").then_finish(FinishReason::Stop);
        gateway.scripted.push(thinks());
        let body = with(say(model, "hi"), json!({ "reasoning": { "effort": "high", "summary": "auto" } }));
        let seen = nameless(&events(&gateway, body).await);
        let at = json!({ "item_id": "rs_1", "output_index": 0, "summary_index": 0 });
        let part = |text: &str| json!({ "type": "summary_text", "text": text });
        let item = json!({ "type": "reasoning", "id": "rs_1", "summary": [part("hm")] });
        let expected = [
            json!({ "type": "response.output_item.added", "output_index": 0, "item": { "type": "reasoning", "id": "rs_1", "summary": [] } }),
            with(at.clone(), json!({ "type": "response.reasoning_summary_part.added", "part": part("") })),
            with(at.clone(), json!({ "type": "response.reasoning_summary_text.delta", "delta": "hm" })),
            with(at.clone(), json!({ "type": "response.reasoning_summary_text.done", "text": "hm" })),
            with(at.clone(), json!({ "type": "response.reasoning_summary_part.done", "part": part("hm") })),
            json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        ];
        let number = |(index, event)| with(event, json!({ "sequence_number": index + 2 }));
        let expected: Vec<Value> = expected.into_iter().enumerate().map(number).collect();
        assert_eq!(seen[2..8], expected, "{model}");
        assert_eq!(seen[seen.len() - 2]["response"]["output"], json!([item, message("msg_1", "yes")]));
        gateway.scripted.push(thinks());
        let (_, body) = gateway.respond(with(say(model, "hi"), json!({ "reasoning": { "effort": "high" } }))).await;
        assert_eq!(nameless(&[body])[0]["output"], json!([message("msg_1", "yes")]));
    }
}

#[tokio::test]
async fn what_is_cut_is_incomplete_and_what_is_silent_says_so() {
    let gateway = Gateway::start().await;
    for (finish, reason) in
        [(FinishReason::Length, "max_output_tokens"), (FinishReason::ContentFilter, "content_filter")]
    {
        let cut =
            || Scripted::chunks([Chunk::Text("cu".into()), Chunk::Usage(Usage::default()), Chunk::Finish(finish)]);
        gateway.scripted.push(cut());
        let (status, body) = gateway.respond(say(MODEL, "hi")).await;
        assert_eq!((status, &body["status"]), (200, &json!("incomplete")));
        assert_eq!(body["incomplete_details"], json!({ "reason": reason }));
        assert_eq!(
            (&body["output"][0]["status"], &body["output"][0]["content"][0]["text"]),
            (&json!("incomplete"), &json!("cu"))
        );
        gateway.scripted.push(cut());
        let seen = events(&gateway, say("agent/main", "hi")).await;
        assert_eq!(seen[seen.len() - 2]["type"], "response.incomplete");
    }
    gateway.scripted.push(Scripted::chunks([Chunk::Finish(FinishReason::Stop)]));
    let (_, body) = gateway.respond(say(MODEL, "hi")).await;
    assert_eq!(nameless(&[body])[0]["output"], json!([message("msg_1", "")]));
}

#[tokio::test]
async fn a_turn_that_fails_is_a_response_that_says_so() {
    let gateway = Gateway::start().await;
    let failed = json!({ "code": "server_error", "message": "Internal server error" });
    gateway.scripted.push(Scripted::refuse(ProviderErrorKind::Auth, "the key is sk-secret"));
    let (status, body) = gateway.respond(say("agent/main", "hi")).await;
    assert_eq!(
        (status, &body["status"], &body["output"], &body["error"]),
        (200, &json!("failed"), &json!([]), &failed)
    );
    gateway.scripted.push(Scripted::breaks_after("half", ProviderErrorKind::Cut));
    let seen = events(&gateway, say("agent/main", "hi")).await;
    let end = &seen[seen.len() - 2];
    assert_eq!((&end["type"], &end["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert_eq!((&end["response"]["error"], &end["response"]["output"]), (&failed, &json!([])));
    assert_eq!(
        (&seen[seen.len() - 1], seen[seen.len() - 3]["type"].as_str()),
        (&json!("[DONE]"), Some("response.output_text.delta"))
    );
    // A model that cannot be asked is no response: its vendor's status is the answer.
    gateway.scripted.push(Scripted::refuse(ProviderErrorKind::RateLimited, "slow down"));
    assert_eq!(gateway.respond(with(say(MODEL, "hi"), json!({ "stream": true }))).await.0, 429);
    assert_eq!(gateway.respond(say("agent/nobody", "hi")).await.0, 404);
}

#[tokio::test]
async fn an_agents_own_tools_are_not_seen_and_its_words_are_kept_apart() {
    let gateway = Gateway::start().await;
    let looks = || {
        Scripted::chunks([Chunk::Text("Let me look.".into())])
            .then(Step::Chunk(Chunk::ToolCall { index: 0, id: "c1".into(), name: "current_time".into() }))
            .then_finish(FinishReason::ToolCalls)
    };
    gateway.scripted.push(looks());
    gateway.scripted.push(Scripted::text("It is late."));
    let (_, body) = gateway.respond(say("agent/main", "hi")).await;
    assert_eq!(nameless(&[body])[0]["output"], json!([message("msg_1", "It is late.")]));
    gateway.scripted.push(looks());
    gateway.scripted.push(Scripted::text("It is late."));
    let seen = events(&gateway, say("agent/main", "hi")).await;
    let end = &nameless(&seen)[seen.len() - 2]["response"]["output"];
    assert_eq!(*end, json!([message("msg_1", "Let me look.\n\nIt is late.")]));
}

#[tokio::test]
async fn an_agent_is_told_of_the_form_and_kept_to_it() {
    let gateway = Gateway::start().await;
    let schema = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } });
    let text = json!({ "text": { "format": { "type": "json_schema", "name": "x", "schema": schema } } });
    gateway.scripted.push(Scripted::text("```json\n{\"a\": 1}\n```"));
    let (status, body) = gateway.respond(with(say("main", "hi"), text.clone())).await;
    assert_eq!((status, &body["output"][0]["content"][0]["text"]), (200, &json!("{\"a\": 1}")));
    gateway.scripted.push(Scripted::text("no json"));
    assert_eq!(gateway.respond(with(say("main", "hi"), text)).await.0, 500);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_its_place() {
    let gateway = Gateway::start().await;
    let cases = [
        (json!({ "background": true }), "background: nothing is answered in the background here; use `stream`"),
        (
            json!({ "conversation": "conv_1" }),
            "conversation: no conversations are kept here; use `previous_response_id`",
        ),
        (json!({ "prompt": { "id": "p" } }), "prompt: no prompts are kept here; send `instructions`"),
        (json!({ "temperature": 3 }), "temperature: Too big: expected number to be <=2"),
        (json!({ "input": 7 }), "input: Invalid input: expected string or array, received number"),
        (
            json!({ "input": [{ "role": "nobody", "content": "x" }] }),
            "input.0.role: Invalid option: expected one of \"user\"|\"assistant\"|\"system\"|\"developer\"",
        ),
        (
            json!({ "input": [{ "type": "web_search_call" }] }),
            "input.0.type: Invalid option: expected one of \"message\"|\"function_call\"|\"function_call_output\"|\"reasoning\"|\"item_reference\"",
        ),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_file", "file_id": "f" }] }] }),
            "input.0.content.0.file_id: uploaded files are not kept here; send `file_data`",
        ),
        (
            json!({ "input": [{ "type": "function_call_output", "call_id": "c9", "output": "x" }] }),
            "input.0.call_id: no earlier item asks for the call \"c9\"",
        ),
        (json!({ "tools": [{ "type": "web_search" }] }), "tools.0.type: Invalid input: expected \"function\""),
        (json!({ "top_logprobs": 2 }), "top_logprobs: this model gives no log probabilities"),
    ];
    for (fields, message) in cases {
        let param = message.split([':', '.']).next();
        let expected = error(&format!("Invalid request: {message}"), "invalid_request_error", param);
        assert_eq!(gateway.respond(with(say("main", "hi"), fields)).await, (400, expected));
    }
    let unknown = gateway.respond(with(say("main", "hi"), json!({ "x": 1 }))).await;
    assert_eq!(unknown, (400, error("Invalid request: : Unrecognized key: \"x\"", "invalid_request_error", None)));
    for input in [json!(""), json!([]), json!([{ "role": "system", "content": "x" }])] {
        let seen = gateway.respond(json!({ "model": "main", "input": input })).await;
        assert_eq!(seen, (400, error("No user message found in input", "invalid_request_error", None)));
    }
    let own = json!({ "tools": [{ "type": "function", "name": "current_time" }] });
    let (status, body) = gateway.respond(with(say("agent/main", "hi"), own)).await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("tools")));
    assert_eq!(gateway.scripted.requests().len(), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_turn_and_nothing_is_kept() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    gateway.scripted.push(Scripted::held(&gate, "never"));
    let body = with(say("agent/main", "hi"), json!({ "stream": true }));
    let mut stream = gateway.stream_of("/v1/responses", body).await;
    let created = stream.next_chunk().await;
    gate.reached().await;
    drop(stream);
    gateway.idle().await;
    let id = created["response"]["id"].as_str().unwrap();
    assert_eq!(gateway.get(&format!("/v1/responses/{id}")).await.0, 404);
}
