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
    for text in ["/usage", "/fork here", "/etc/passwd", "/ new", "stop"] {
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
