//! Turns: second answers, aborts, steering, repeats.

use providers::ProviderErrorKind;
use providers::testkit::{Gate, Scripted};
use serde_json::{Value, json};
use testkit::TestGateway;

use crate::rig::{Client, gateway, held};

/// The names of what came in: `res` and events with what tells them apart.
fn story(frames: &[Value]) -> Vec<String> {
    frames
        .iter()
        .map(|frame| {
            let payload = &frame["payload"];
            match frame["event"].as_str() {
                Some("agent") => format!(
                    "agent {} {}",
                    payload["stream"].as_str().unwrap(),
                    payload["data"]["phase"].as_str().unwrap_or("-")
                ),
                Some("chat") => format!("chat {}", payload["state"].as_str().unwrap()),
                Some(other) => other.to_owned(),
                None => format!("res {}", payload["status"].as_str().unwrap_or("-")),
            }
        })
        .collect()
}

#[tokio::test]
async fn the_answers_of_agent_frame_its_events() {
    let gateway = gateway().await;
    gateway.provider.push(Scripted::text("Nine"));
    let mut client = Client::operator(&gateway).await;
    let id = client.send("agent", json!({ "message": "When?", "idempotencyKey": "r-1", "sessionKey": "main" })).await;
    let (last, mut frames) =
        client.ws.until(|frame| frame["id"] == id.as_str() && frame["payload"]["status"] == "ok").await;
    frames.push(last.clone());
    assert_eq!(
        story(&frames),
        [
            "res accepted",
            "agent lifecycle start",
            "agent assistant -",
            "chat delta",
            "agent lifecycle end",
            "chat final",
            "res ok"
        ]
    );
    let result = &last["payload"]["result"];
    assert_eq!(result["payloads"], json!([{ "text": "Nine", "mediaUrl": null }]));
    assert_eq!(
        (&result["meta"]["agentMeta"]["provider"], &result["meta"]["agentMeta"]["model"]),
        (&json!("scripted"), &json!("model"))
    );
    let session =
        gateway.services.sessions.get(&model::SessionKey::main(&model::AgentId::main())).await.unwrap().unwrap();
    assert_eq!(result["meta"]["agentMeta"]["sessionId"], session.id.as_str());

    // A repeat gets the outcome, once.
    let repeat = client.call("agent", json!({ "message": "When?", "idempotencyKey": "r-1" })).await.unwrap();
    assert_eq!((&repeat["status"], &repeat["result"]["payloads"][0]["text"]), (&json!("ok"), &json!("Nine")));
    assert_eq!(client.ws.unread().await, Vec::new());
    gateway.stop().await;
}

#[tokio::test]
async fn a_repeat_of_agent_while_it_runs_gets_its_own_outcome() {
    let gateway = gateway().await;
    let gate = Gate::default();
    gateway.provider.push(held("Ni", &gate, "ne"));
    let mut first = Client::operator(&gateway).await;
    let mut second = Client::operator(&gateway).await;
    let params = json!({ "message": "When?", "idempotencyKey": "r-1" });
    let (a, b) = (first.send("agent", params.clone()).await, async {
        gate.reached().await;
        second.send("agent", params.clone()).await
    });
    assert_eq!(first.answer(&a).await.unwrap()["status"], "accepted");
    let b = b.await;
    assert_eq!(second.answer(&b).await.unwrap()["status"], "accepted");
    gate.open();
    assert_eq!(first.answer(&a).await.unwrap()["summary"], "completed");
    assert_eq!(second.answer(&b).await.unwrap()["summary"], "completed");
    assert_eq!(gateway.messages("agent:main:main").await.len(), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn an_abort_ends_the_run_with_its_partial_text() {
    let gateway = gateway().await;
    let gate = Gate::default();
    gateway.provider.push(held("Half", &gate, " whole"));
    let mut client = Client::operator(&gateway).await;
    let id = client.send("agent", json!({ "message": "x", "idempotencyKey": "r-1" })).await;
    client.answer(&id).await.unwrap();
    gate.reached().await;
    let waits = client.send("agent.wait", json!({ "runId": "r-1", "timeoutMs": 10_000 })).await;
    let aborted = client.call("chat.abort", json!({ "sessionKey": "main", "runId": "r-1" })).await.unwrap();
    assert_eq!(aborted, json!({ "ok": true, "aborted": true, "runIds": ["r-1"] }));
    let waited = client.answer(&waits).await.unwrap();
    assert_eq!(
        (&waited["status"], &waited["error"], &waited["stopReason"]),
        (&json!("error"), &json!("aborted"), &json!("rpc"))
    );
    let outcome = client.answer(&id).await.unwrap_err();
    assert_eq!(outcome["details"]["code"], "AGENT_ABORTED");
    let (chat, _) = client.chat_end("r-1").await;
    assert_eq!(
        (&chat["state"], &chat["stopReason"], &chat["message"]["content"][0]["text"]),
        (&json!("aborted"), &json!("rpc"), &json!("Half"))
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_message_to_a_busy_session_waits_and_can_be_withdrawn() {
    let gateway = gateway().await;
    let gate = Gate::default();
    gateway.provider.push(held("a", &gate, ""));
    let mut client = Client::operator(&gateway).await;
    for run in ["r-1", "r-2"] {
        let sent = client
            .call("chat.send", json!({ "sessionKey": "main", "message": run, "idempotencyKey": run }))
            .await
            .unwrap();
        assert_eq!(sent, json!({ "runId": run, "status": "started" }));
    }
    gate.reached().await;
    let repeat = json!({ "sessionKey": "main", "message": "again", "idempotencyKey": "r-1" });
    assert_eq!(client.call("chat.send", repeat).await.unwrap()["status"], "in_flight");
    let aborted = client.call("chat.abort", json!({ "sessionKey": "main", "runId": "r-2" })).await.unwrap();
    assert_eq!(aborted["runIds"], json!(["r-2"]));
    let (chat, _) = client.chat_end("r-2").await;
    assert_eq!((&chat["state"], &chat["message"]), (&json!("aborted"), &Value::Null));
    // A repeat of what was stopped fails as waiting for it does.
    let id = client.send("chat.send", json!({ "sessionKey": "main", "message": "x", "idempotencyKey": "r-2" })).await;
    let repeat = client.frame(&id).await;
    assert_eq!(repeat["payload"], json!({ "runId": "r-2", "status": "error", "summary": "aborted" }));
    assert_eq!(
        (&repeat["error"]["message"], &repeat["error"]["details"]["code"], &repeat["error"]["retryable"]),
        (&json!("aborted"), &json!("AGENT_ABORTED"), &Value::Null)
    );
    gate.open();
    assert_eq!(client.chat_end("r-1").await.0["state"], "final");
    gateway.stop().await;
}

#[tokio::test]
async fn steering_hands_the_message_to_the_active_run() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    let steer =
        |key: &str| json!({ "sessionKey": "main", "message": "faster", "busyMode": "steer", "idempotencyKey": key });
    assert_eq!(
        client.call("chat.send", steer("s-0")).await.unwrap(),
        json!({ "runId": "s-0", "status": "not_active" })
    );

    let gate = Gate::default();
    gateway.provider.push(held("slow", &gate, ""));
    gateway.provider.push(Scripted::text("fast"));
    client.call("chat.send", json!({ "sessionKey": "main", "message": "go", "idempotencyKey": "r-1" })).await.unwrap();
    gate.reached().await;
    let steered = json!({ "runId": "s-1", "status": "steered", "targetRunId": "r-1" });
    assert_eq!(client.call("chat.send", steer("s-1")).await.unwrap(), steered);
    // Remembered under its key.
    assert_eq!(client.call("chat.send", steer("s-1")).await.unwrap(), steered);
    gate.open();
    let (chat, _) = client.chat_end("r-1").await;
    assert_eq!(chat["message"]["content"][0]["text"], "fast");
    let texts: Vec<String> = gateway.messages("agent:main:main").await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["go", "slow", "faster", "fast"]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_message_answers_the_question_of_a_waiting_run() {
    let gateway = gateway().await;
    gateway.provider.push(Scripted::tool_calls([("t1", "ask_user", json!({ "prompt": "Left or right?" }))]));
    gateway.provider.push(Scripted::text("Left it is"));
    let mut client = Client::operator(&gateway).await;
    client.call("chat.send", json!({ "message": "go", "idempotencyKey": "r-1" })).await.unwrap();
    let question = client.event("chat").await["payload"].take();
    assert_eq!((&question["deltaText"], &question["replace"]), (&json!("Left or right?"), &json!(true)));
    let answer = client.call("chat.send", json!({ "message": "left", "idempotencyKey": "r-2" })).await.unwrap();
    assert_eq!(answer, json!({ "runId": "r-2", "status": "steered", "targetRunId": "r-1" }));
    let (chat, _) = client.chat_end("r-1").await;
    assert_eq!(chat["message"]["content"][0]["text"], "Left it is");
    gateway.stop().await;
}

#[tokio::test]
async fn a_failed_turn_is_told_everywhere() {
    let gateway = gateway().await;
    gateway.provider.push(Scripted::refuse(ProviderErrorKind::Auth, "the model is gone"));
    let mut client = Client::operator(&gateway).await;
    let id = client.send("agent", json!({ "message": "x", "idempotencyKey": "r-1" })).await;
    client.answer(&id).await.unwrap();
    let outcome = client.answer(&id).await.unwrap_err();
    assert_eq!(
        (&outcome["code"], &outcome["details"]["code"], &outcome["retryable"]),
        (&json!("UNAVAILABLE"), &json!("AGENT_FAILED"), &json!(null))
    );
    let (chat, _) = client.chat_end("r-1").await;
    assert_eq!(chat["state"], "error");
    let waited = client.call("agent.wait", json!({ "runId": "r-1" })).await.unwrap();
    assert_eq!((&waited["status"], &waited["error"]), (&json!("error"), &chat["errorMessage"]));
    let repeat = client.call("agent", json!({ "message": "x", "idempotencyKey": "r-1" })).await.unwrap_err();
    assert_eq!((&repeat["message"], &repeat["retryable"]), (&chat["errorMessage"], &json!(null)));
    gateway.stop().await;
}

#[tokio::test]
async fn only_a_failure_that_may_pass_is_worth_a_repeat() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    let refused = Scripted::refuse(ProviderErrorKind::Unsupported, "not here");
    let broken_off = Scripted::chunks([]).then_text("half of");
    for (key, script, retryable) in [("r-1", refused, false), ("r-2", broken_off, true)] {
        gateway.provider.push(script);
        let id = client.send("agent", json!({ "message": "x", "idempotencyKey": key })).await;
        client.answer(&id).await.unwrap();
        let error = client.answer(&id).await.unwrap_err();
        assert_eq!(error["retryable"] == true, retryable, "{key}: {error}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_key_is_told_apart_by_method_and_belongs_to_one_session() {
    let mut gateway = gateway().await;
    gateway.provider.push(Scripted::text("chat"));
    gateway.provider.push(Scripted::text("agent"));
    let mut client = Client::operator(&gateway).await;
    let k = |session: &str| json!({ "message": "x", "sessionKey": session, "idempotencyKey": "k" });
    let sent = client.call("chat.send", k("main")).await.unwrap();
    assert_eq!(sent, json!({ "runId": "k", "status": "started" }));
    client.chat_end("k").await;

    // The other method has a run of its own, and its second answer.
    let id = client.send("agent", k("main")).await;
    assert_eq!(client.answer(&id).await.unwrap()["runId"], "agent:k");
    let outcome = client.answer(&id).await.unwrap();
    assert_eq!((&outcome["runId"], &outcome["result"]["payloads"][0]["text"]), (&json!("agent:k"), &json!("agent")));

    // In another session as well.
    let other = |session: &str| json!({ "message": "x", "sessionKey": session, "idempotencyKey": "j" });
    client.call("chat.send", other("main")).await.unwrap();
    client.chat_end("j").await;
    let accepted = client.call("agent", other("attic")).await.unwrap();
    assert_eq!((&accepted["runId"], &accepted["sessionKey"]), (&json!("agent:j"), &json!("agent:main:attic")));
    client.chat_end("agent:j").await;
    gateway.idle().await;

    // What was used stays so, whoever asks, over a restart too.
    for _ in 0..2 {
        assert_eq!(client.call("chat.send", k("main")).await.unwrap(), json!({ "runId": "k", "status": "ok" }));
        assert_eq!(client.call("agent", k("main")).await.unwrap()["result"]["payloads"][0]["text"], "agent");
        for method in ["chat.send", "agent"] {
            let error = client.call(method, k("desk")).await.unwrap_err();
            let used = if method == "agent" { "agent:k" } else { "k" };
            assert_eq!(
                (&error["code"], &error["message"]),
                (&json!("INVALID_REQUEST"), &json!(format!("idempotencyKey \"{used}\" was used for another session")))
            );
        }
        gateway.restart().await;
        client = Client::operator(&gateway).await;
    }
    assert_eq!(gateway.messages("agent:main:desk").await, Vec::new());
    gateway.stop().await;
}

#[tokio::test]
async fn what_was_answered_without_a_run_is_remembered_for_its_session_only() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    let steer =
        |session: &str| json!({ "message": "x", "sessionKey": session, "busyMode": "steer", "idempotencyKey": "k" });
    for _ in 0..2 {
        assert_eq!(client.call("chat.send", steer("main")).await.unwrap()["status"], "not_active");
    }
    let error = client.call("chat.send", steer("desk")).await.unwrap_err();
    assert_eq!(error["message"], "idempotencyKey \"k\" was used for another session");
    gateway.stop().await;
}

#[tokio::test]
async fn the_queue_of_a_session_is_bounded() {
    let gateway = small_queue().await;
    let gate = Gate::default();
    gateway.provider.push(held("a", &gate, ""));
    let mut client = Client::operator(&gateway).await;
    let send = |n: u32| json!({ "message": "x", "idempotencyKey": format!("r-{n}") });
    client.call("chat.send", send(1)).await.unwrap();
    gate.reached().await;
    client.call("chat.send", send(2)).await.unwrap();
    let error = client.call("chat.send", send(3)).await.unwrap_err();
    assert_eq!((&error["details"]["code"], &error["retryAfterMs"]), (&json!("AGENT_BUSY"), &json!(1000)));
    gate.open();
    gateway.idle().await;
    gateway.stop().await;
}

async fn small_queue() -> TestGateway {
    let limits = services::Limits { session_queue: 1, ..services::Limits::default() };
    let settings = crate::rig::Settings { limits, ..crate::rig::Settings::default() };
    crate::rig::warmed(settings.builder().start().await).await
}
