//! What connections are told: numbers, spellings, audiences, resuming, stopping.

use model::{Event, Scope};
use providers::testkit::{Gate, Scripted};
use serde_json::{Value, json};

use crate::rig::{Client, Settings, gateway, held, hello, warmed};

/// The frames of a client up to the end of a run, those that were read before included.
async fn until_end(client: &mut Client, run: &str) -> Vec<Value> {
    let is_end = |frame: &Value| {
        frame["event"] == "chat" && frame["payload"]["runId"] == run && frame["payload"]["state"] != "delta"
    };
    let mut frames = std::mem::take(&mut client.events);
    if !frames.iter().any(is_end) {
        let (last, before) = client.ws.until(is_end).await;
        frames.extend(before);
        frames.push(last);
    }
    frames
}

#[tokio::test]
async fn events_are_numbered_per_connection_and_spelled_as_the_client_spells() {
    let gateway = gateway().await;
    gateway.provider.push(Scripted::text("Hi"));
    let mut canonical = Client::with(&gateway, &[Scope::Read]).await;
    let mut short = Client::operator(&gateway).await;
    short.call("chat.send", json!({ "sessionKey": "Main", "message": "x", "idempotencyKey": "r-1" })).await.unwrap();
    for (client, spelling) in [(&mut canonical, "agent:main:main"), (&mut short, "Main")] {
        let frames = until_end(client, "r-1").await;
        let numbers: Vec<u64> = frames.iter().map(|frame| frame["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=5).collect::<Vec<u64>>());
        assert!(frames.iter().all(|frame| frame["payload"]["sessionKey"] == spelling), "{frames:?}");
        // Durable events say where they are in the log, deltas do not.
        let durable: Vec<bool> = frames.iter().map(|frame| frame["cursor"].is_u64()).collect();
        assert_eq!(durable, [true, false, false, true, true]);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn events_have_the_form_of_the_handshake() {
    let gateway = gateway().await;
    gateway.provider.push(Scripted::text("Hi"));
    let mut client = Client::open(&gateway, &[]).await;
    let params =
        json!({ "clientName": "dash", "mode": "operator", "token": gateway.admin(), "client": { "mode": "cli" } });
    client.ws.send_json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "auth", "params": params })).await;
    assert_eq!(client.ws.json().await["result"]["protocol"], 3);
    // A native call on the same connection is answered natively; events stay as they are.
    client.ws.send_json(&json!({ "type": "req", "id": "n", "method": "chat.send", "params": { "text": "x" } })).await;
    assert_eq!(client.ws.json().await["payload"]["status"], "started");
    let event = client.ws.json().await;
    assert_eq!(
        (&event["method"], &event["params"]["event"], &event["params"]["seq"]),
        (&json!("event"), &json!("agent"), &json!(1))
    );
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn tools_are_told_to_those_who_started_the_run_and_asked_for_them() {
    let gateway = gateway().await;
    gateway.provider.push(Scripted::tool_calls([("t1", "current_time", json!({}))]));
    gateway.provider.push(Scripted::text("Ten"));
    let mut params = hello(gateway.admin());
    params["caps"] = json!(["tool-events"]);
    let mut starter = Client::connect(&gateway, params.clone()).await;
    let mut other = Client::connect(&gateway, params).await;
    let mut plain = Client::operator(&gateway).await;
    starter.call("chat.send", json!({ "message": "x", "idempotencyKey": "r-1" })).await.unwrap();
    let tools = |frames: &[Value]| -> Vec<Value> {
        frames.iter().filter(|frame| frame["payload"]["stream"] == "tool").cloned().collect()
    };
    let told = tools(&until_end(&mut starter, "r-1").await);
    let phases: Vec<&Value> = told.iter().map(|frame| &frame["payload"]["data"]["phase"]).collect();
    assert_eq!(phases, ["start", "result"]);
    assert!(told.iter().all(|frame| frame["seq"].is_null()));
    assert_eq!(told[1]["payload"]["data"]["result"], Value::Null);
    assert_eq!(tools(&until_end(&mut other, "r-1").await), Vec::<Value>::new());
    assert_eq!(tools(&until_end(&mut plain, "r-1").await), Vec::<Value>::new());
    gateway.stop().await;
}

#[tokio::test]
async fn results_of_tools_are_told_in_fully_verbose_sessions() {
    let gateway = gateway().await;
    let key = model::SessionKey::main(&model::AgentId::main());
    gateway.services.sessions.configure(&key, |settings| settings.verbose = Some("full".into())).await.unwrap();
    gateway.provider.push(Scripted::tool_calls([("t1", "current_time", json!({}))]));
    gateway.provider.push(Scripted::text("Ten"));
    let mut params = hello(gateway.admin());
    params["caps"] = json!(["tool-events"]);
    let mut client = Client::connect(&gateway, params).await;
    client.call("chat.send", json!({ "message": "x", "idempotencyKey": "r-1" })).await.unwrap();
    let frames = until_end(&mut client, "r-1").await;
    let result = frames.iter().find(|frame| frame["payload"]["data"]["phase"] == "result").unwrap();
    assert!(result["payload"]["data"]["result"].is_string(), "{result}");
    gateway.stop().await;
}

#[tokio::test]
async fn those_without_read_are_told_nothing_of_conversations() {
    let gateway = gateway().await;
    gateway.provider.push(Scripted::text("Hi"));
    let mut clerk = Client::with(&gateway, &[Scope::Pairing]).await;
    let mut params = hello(gateway.admin());
    params["role"] = json!("node");
    let mut node = Client::connect(&gateway, params).await;
    let run = gateway.say("agent:main:main", "x").await;
    gateway.ended(&run).await;
    assert_eq!(clerk.ws.unread().await, Vec::new());
    assert_eq!(node.ws.unread().await, Vec::new());
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_resumes_where_it_was_and_is_told_when_it_cannot() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    client.call("chat.send", json!({ "message": "one", "idempotencyKey": "r-1" })).await.unwrap();
    let last = until_end(&mut client, "r-1").await.pop().unwrap();
    client.ws.cut();
    let run = gateway.say("agent:main:main", "two").await;
    gateway.ended(&run).await;

    let mut params = hello(gateway.admin());
    params["resume"] = json!({ "cursor": last["cursor"] });
    let mut again = Client::connect(&gateway, params.clone()).await;
    let (chat, _) = again.chat_end(run.as_str()).await;
    assert_eq!(chat["message"]["content"][0]["text"], "two");
    again.ws.cut();

    params["resume"] = json!({ "cursor": 99_999 });
    let mut lost = Client::connect(&gateway, params).await;
    let resync = lost.event("events.resync").await;
    assert_eq!(resync["payload"]["cursor"], lost.hello["resume"]["cursor"]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_stop_is_announced_and_closes_with_1012() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    gateway.stop().await;
    assert_eq!(
        client.event("shutdown").await["payload"],
        json!({ "reason": "gateway stopping", "restartExpectedMs": null })
    );
    assert_eq!(client.ws.closed().await, 1012);
}

#[tokio::test]
async fn a_move_is_announced_as_a_restart_that_comes_at_once() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    gateway.services.lifecycle.start_moving();
    gateway.stop().await;
    let told = json!({ "reason": "gateway restarting", "restartExpectedMs": 0 });
    assert_eq!(client.event("shutdown").await["payload"], told);
    assert_eq!(client.ws.closed().await, 1012);
}

#[tokio::test]
async fn a_stop_that_was_announced_on_the_bus_is_not_announced_twice() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    let at = gateway.services.clock.now();
    gateway.services.bus.publish_ephemeral(at, false, || Event::ShuttingDown {
        reason: "update".into(),
        restart_expected_ms: Some(1000),
        grace_ms: 0,
    });
    assert_eq!(client.event("shutdown").await["payload"], json!({ "reason": "update", "restartExpectedMs": 1000 }));
    gateway.stop().await;
    assert_eq!(client.ws.recv().await, testkit::Incoming::Closed(Some(1012)));
}

#[tokio::test]
async fn ten_refusals_in_a_row_end_the_connection() {
    let gateway = gateway().await;
    let mut reader = Client::with(&gateway, &[Scope::Read]).await;
    for _ in 0..9 {
        reader.call("chat.send", json!({})).await.unwrap_err();
    }
    reader.call("sessions.list", json!({})).await.unwrap();
    for _ in 0..10 {
        reader.call("chat.send", json!({})).await.unwrap_err();
    }
    assert_eq!(reader.ws.closed().await, 1008);
    gateway.stop().await;
}

#[tokio::test]
async fn a_large_frame_is_refused_before_the_handshake_and_read_after_it() {
    let gateway = gateway().await;
    let mut client = Client::open(&gateway, &[]).await;
    let mut params = hello(gateway.admin());
    params["userAgent"] = json!("x".repeat(70_000));
    client.send("connect", params).await;
    assert_eq!(client.ws.closed().await, 1009);
    let mut client = Client::operator(&gateway).await;
    let error =
        client.call("sessions.list", json!({ "padding": "x".repeat(1_000_000), "limit": 0 })).await.unwrap_err();
    assert_eq!(error["message"], "invalid sessions.list params: at /limit: must be >= 1");
    gateway.stop().await;
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let argent = dialect_argent::ArgentSettings { handshake_timeout_ms: 50, ..Default::default() };
    let gateway = warmed(Settings { argent, ..Settings::default() }.builder().start().await).await;
    let mut client = Client::open(&gateway, &[]).await;
    assert_eq!(client.ws.closed().await, 1000);
    gateway.stop().await;
}

#[tokio::test]
async fn a_late_joiner_gets_the_whole_text() {
    let gateway = gateway().await;
    let gate = Gate::default();
    gateway.provider.push(held("At ", &gate, "nine"));
    let run = gateway.say("agent:main:main", "When?").await;
    gate.reached().await;
    let mut late = Client::operator(&gateway).await;
    let history = late.call("chat.history", json!({ "sessionKey": "main" })).await.unwrap();
    assert_eq!(history["inFlightRun"], json!({ "runId": run, "text": "At " }));
    gate.open();
    let (_, deltas) = late.chat_end(run.as_str()).await;
    assert_eq!((&deltas[0]["deltaText"], &deltas[0]["replace"]), (&json!("At nine"), &json!(true)));
    gateway.stop().await;
}

#[tokio::test]
async fn those_present_are_told_of() {
    let gateway = gateway().await;
    let mut watcher = Client::operator(&gateway).await;
    let mut params = hello(gateway.admin());
    params["client"]["mode"] = json!("ui");
    params["client"]["displayName"] = json!("Harbor");
    params["client"]["instanceId"] = json!("I-1");
    let shown = Client::connect(&gateway, params).await;
    let presence = watcher.event("presence").await;
    let entries = presence["payload"]["presence"].as_array().unwrap();
    let hosts: Vec<&Value> = entries.iter().map(|entry| &entry["host"]).collect();
    assert_eq!(hosts, ["Harbor", "test"]);
    assert_eq!(presence["stateVersion"]["presence"], gateway.services.presence.version());
    drop(shown);
    let listed = watcher.call("system-presence", json!({})).await.unwrap();
    assert_eq!(listed[0]["instanceId"], "I-1");
    gateway.stop().await;
}
