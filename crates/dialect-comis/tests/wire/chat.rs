//! `POST /api/chat`: commands, failures, clients that leave.

use providers::testkit::{Gate, Scripted};
use providers::{Chunk, FinishReason, ProviderErrorKind};
use serde_json::{Value, json};
use services::Limits;

use crate::support::{Gateway, Http, in_time};

async fn say(http: &Http<'_>, message: &str) -> Value {
    let reply = http.post("/api/chat", &json!({ "message": message })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn command(text: &str) -> Value {
    json!({ "response": text, "tokensUsed": { "input": 0, "output": 0, "total": 0 }, "finishReason": "command" })
}

#[tokio::test]
async fn commands_are_answered_without_a_model() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    let fresh = "agent main, model scripted/default, 0 messages, 0 tokens, 0 active";
    assert_eq!(say(&http, "/status").await, command(fresh));
    say(&http, "Hello").await;
    assert_eq!(say(&http, " /new ").await, command("A new conversation begins."));
    assert_eq!(gateway.messages_in("agent:main:main").await, 0);
    assert_eq!(say(&http, "/model scripted/other").await, command("This session now uses scripted/other."));
    assert_eq!(say(&http, "/model nowhere/x").await, command("model `nowhere/x` does not exist"));
    assert_eq!(say(&http, "/stop").await, command("Nothing was running."));
    assert_eq!(gateway.provider.requests().len(), 1, "only the greeting asked the model");
}

#[tokio::test]
async fn what_is_no_command_of_ours_goes_to_the_model_as_it_is() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    for text in ["/usages", "/etc/passwd", "/ new", "stop"] {
        let told = say(&http, text).await;
        assert_eq!((&told["response"], &told["finishReason"]), (&json!(text), &json!("stop")));
    }
}

#[tokio::test]
async fn think_is_a_directive_for_the_rest_of_its_message() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    assert_eq!(say(&http, "/think high Explain it").await["response"], "Explain it");
    let asked = gateway.provider.requests();
    assert_eq!(asked[0].thinking, Some(model::Thinking::High));
    assert_eq!(say(&http, "/think low").await, command("Thinking is now low."));
    assert_eq!(say(&http, "/think").await, command("Thinking is low."));
    assert_eq!(say(&http, "Again").await["response"], "Again");
    assert_eq!(gateway.provider.requests()[1].thinking, Some(model::Thinking::Low));
    let told = say(&http, "/think deeply about it").await;
    assert_eq!(told["finishReason"], "command");
}

#[tokio::test]
async fn a_budget_bounds_the_tokens_of_its_turn() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    gateway.provider.push(Scripted::tool_calls([("c1", "current_time", json!({}))]));
    let told = say(&http, "/budget 5 What time is it?").await;
    assert_eq!(told["finishReason"], "budget_exceeded", "{told}");
    assert_eq!(gateway.provider.requests().len(), 1);
    assert_eq!(say(&http, "/budget 50k Say hello").await["response"], "Say hello");
    let words = "`/budget much` is unknown; `/budget` takes a number of tokens such as 50k.";
    assert_eq!(say(&http, "/budget much of it").await, command(words));
    assert_eq!(say(&http, "/budget 5k").await, command("A budget is for one message: `/budget 50k MESSAGE`."));
}

#[tokio::test]
async fn tools_and_reasoning_are_shown_where_they_are_wanted() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    let think = || Scripted::chunks([]).then_reasoning("It is late.").then_text("Noon").then_finish(FinishReason::Stop);
    gateway.provider.push(Scripted::tool_calls([("c1", "current_time", json!({}))]));
    gateway.provider.push(think());
    let told = say(&http, "/verbose on /reasoning on What time is it?").await;
    assert_eq!(told["response"], "Reasoning: It is late.\n\nNoon\n\n[tools: current_time]");
    gateway.provider.push(think());
    assert_eq!(say(&http, "And now?").await["response"], "Noon", "it was for one turn");
    assert_eq!(say(&http, "/reasoning on").await, command("Reasoning is now on."));
    assert_eq!(say(&http, "/reasoning").await, command("Reasoning is on."));
    assert_eq!(say(&http, "/verbose full").await, command("Verbose is now full."));
    gateway.provider.push(think());
    assert_eq!(say(&http, "And now?").await["response"], "Reasoning: It is late.\n\nNoon", "it is for the session");
    gateway.provider.push(think());
    assert_eq!(say(&http, "/reasoning off And now?").await["response"], "Noon");
    let history = http.get("/api/chat/history").await.json();
    assert_eq!(history["messages"][1]["content"], "Noon", "what is stored is what was said");
}

#[tokio::test]
async fn usage_context_and_export_tell_of_the_session() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    let nothing = command("Nothing was said in this session yet.");
    for text in ["/usage", "/context", "/export", "/fork"] {
        assert_eq!(say(&http, text).await, nothing, "{text}");
    }
    say(&http, "Hello you").await;
    let usage = "This session: 10 tokens in, 2 out, 12 together. The conversation holds 5 tokens in 2 messages. \
                 Last turn: 10 in, 2 out, by scripted/default.";
    assert_eq!(say(&http, "/usage").await, command(usage));
    let context = say(&http, "/context").await["response"].as_str().unwrap().to_owned();
    assert!(
        context.starts_with("2 messages, 5 tokens.\nuser: 1 messages, 3 tokens\nassistant: 1 messages"),
        "{context}"
    );
    assert!(context.contains("model: scripted/default, ") && context.contains("beyond 50000 tokens"), "{context}");
    let at = "2026-09-21T14:13:20.000Z";
    let markdown = format!("## user ({at})\n\nHello you\n\n## assistant ({at})\n\nHello you\n");
    assert_eq!(say(&http, "/export").await, command(&markdown));
    let lines = say(&http, "/export json").await["response"].as_str().unwrap().to_owned();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["content"], &lines[1]["role"]), (&json!("Hello you"), &json!("assistant")));
    let words = "`/export pdf` is unknown; `/export` takes markdown or json.";
    assert_eq!(say(&http, "/export pdf").await, command(words));
    assert!(say(&http, "/help").await["response"].as_str().unwrap().contains("/export [markdown | json]"));
    assert_eq!(gateway.provider.requests().len(), 1, "only the greeting asked the model");
}

#[tokio::test]
async fn a_conversation_is_copied_whole_or_up_to_a_message_and_goes_on_on_its_own() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    for text in ["one", "two"] {
        say(&http, text).await;
    }
    let none = "There are no copies of this conversation; `/fork` makes one.";
    assert_eq!(say(&http, "/branch").await, command(none));
    let key_of = |told: &Value| told["response"].as_str().unwrap().split('`').nth(1).unwrap().to_owned();
    let told = say(&http, "/fork").await;
    let fork = key_of(&told);
    let words = format!("Copied 4 messages into `{fork}`; use it as sessionKey to go on there.");
    assert_eq!(told, command(&words));
    let branch = key_of(&say(&http, "/branch 2").await);
    assert_eq!((gateway.messages_in(&fork).await, gateway.messages_in(&branch).await), (4, 2));
    let reply = http.post("/api/chat", &json!({ "message": "three", "sessionKey": branch })).await;
    assert_eq!(reply.json()["response"], "three");
    assert_eq!((gateway.messages_in(&branch).await, gateway.messages_in("agent:main:main").await), (4, 4));
    let told: Vec<String> =
        gateway.provider.requests().last().unwrap().messages.iter().map(|m| m.content.text().into_owned()).collect();
    assert_eq!(told[told.len() - 3..], ["one", "one", "three"], "the copy knows what was said before");
    let listed = say(&http, "/branch").await["response"].as_str().unwrap().to_owned();
    assert!(listed.contains(&format!("`{fork}`: 4 messages")) && listed.contains(&branch), "{listed}");
    let reply = http.post("/api/chat", &json!({ "message": "/branch", "sessionKey": branch })).await.json();
    assert!(reply["response"].as_str().unwrap().starts_with("This conversation is a copy of `agent:main:main`."));
    assert_eq!(say(&http, "/branch 0").await["finishReason"], "command");
    assert_eq!(gateway.messages_in(&fork).await, 4);
}

#[tokio::test]
async fn the_configuration_is_shown_to_administrators() {
    let gateway = Gateway::start().await;
    let refusal = "The configuration is for administrators: your token lacks the scope `admin`.";
    assert_eq!(say(&Http::with(&gateway, "rpc"), "/config show auth").await, command(refusal));
    let all = Http::with(&gateway, "all");
    assert_eq!(say(&all, "/config show auth").await, command("{\n  \"required\": true\n}"));
    assert_eq!(say(&all, "/config show nothing").await, command("There is no section `nothing`."));
    assert_eq!(gateway.provider.requests().len(), 0);
}

#[tokio::test]
async fn a_failed_turn_is_an_internal_error_and_limits_are_answers() {
    let gateway = Gateway::start_with_limits(Limits { max_iterations: 1, ..Limits::default() }).await;
    let http = Http::with(&gateway, "rpc");
    gateway.provider.push(Scripted::refuse(ProviderErrorKind::BadRequest, "no"));
    let reply = http.post("/api/chat", &json!({ "message": "Hi" })).await;
    assert_eq!(reply.told(), (500, json!({ "error": "Internal error" })));
    gateway.provider.push(Scripted::tool_calls([("c1", "current_time", json!({}))]));
    let told = say(&http, "What time is it?").await;
    assert_eq!(told["finishReason"], "max_steps");
}

#[tokio::test]
async fn a_turn_outlives_its_client_and_its_answer_is_stored() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "Here I am"));
    let http = Http::with(&gateway, "rpc");
    let request = http.request("POST", "/api/chat").json(&json!({ "message": "Hi" }));
    let asking = tokio::spawn(request.send());
    in_time("the question", gate.reached()).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    let mut events = http.events(Some("0")).await;
    gate.open();
    assert_eq!(events.next_named("message:sent").await.json()["content"], "Here I am");
    let history = http.get("/api/chat/history").await.json();
    assert_eq!(history["messages"][1]["content"], "Here I am");
}

#[tokio::test]
async fn a_cancelled_turn_answers_what_it_had_said() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    let half = Scripted::chunks([Chunk::Text("Half an ".into())])
        .then_wait(&gate)
        .then_text("answer")
        .then_finish(FinishReason::Stop);
    gateway.provider.push(half);
    let http = Http::with(&gateway, "rpc");
    let body = json!({ "message": "Hi" });
    let asking = http.post("/api/chat", &body);
    let stopping = async {
        in_time("the pause", gate.reached()).await;
        assert_eq!(say(&http, "/stop").await, command("Stopped 1 run."));
    };
    let (reply, ()) = tokio::join!(asking, stopping);
    let told = reply.json();
    assert_eq!((&told["response"], &told["finishReason"]), (&json!("Half an "), &json!("error")));
}

#[tokio::test]
async fn a_full_queue_is_told_and_nothing_of_the_message_stays() {
    let gateway = Gateway::start_with_limits(Limits { session_queue: 0, ..Limits::default() }).await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "done"));
    let http = Http::with(&gateway, "rpc");
    let body = json!({ "message": "first" });
    let first = http.post("/api/chat", &body);
    let second = async {
        in_time("the first turn", gate.reached()).await;
        let reply = http.post("/api/chat", &json!({ "message": "second" })).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
        gate.open();
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.json()["response"], "done");
    assert_eq!(gateway.messages_in("agent:main:main").await, 2);
}
