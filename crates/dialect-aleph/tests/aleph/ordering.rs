//! What comes before what on one connection.

use providers::testkit::{Gate, Scripted};
use serde_json::{Value, json};
use testkit::soon;

use crate::rig::{Client, gateway};

fn run_of(frame: &Value) -> Option<&str> {
    frame["params"]["data"]["run_id"].as_str()
}

#[tokio::test]
async fn the_answer_that_names_a_run_precedes_its_events_however_fast_the_model_is() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    client.subscribe(&["**"]).await;
    for round in 0..200 {
        let session = format!("agent:main:{}", round % 3);
        client.ws.send_json(&json!({ "jsonrpc": "2.0", "id": "run", "method": "agent.run", "params": { "message": "hi", "session_key": session } })).await;
        let (answer, before) = client.ws.until(|frame| frame["id"] == "run").await;
        let run = answer["result"]["run_id"].as_str().expect("the run is accepted").to_owned();
        assert!(before.iter().all(|frame| run_of(frame) != Some(&run)), "round {round}: {before:?}");
        // Every second round the next message comes while the turn goes on.
        if round % 2 == 0 {
            client.ws.until(|frame| frame["params"]["topic"] == "agent.completed" && run_of(frame) == Some(&run)).await;
        }
    }
}

#[tokio::test]
async fn no_event_of_a_run_overtakes_an_answer_that_is_late() {
    let gateway = gateway().await;
    let mut watcher = Client::operator(&gateway).await;
    watcher.subscribe(&["agent.*"]).await;
    let mut client = Client::operator(&gateway).await;
    client.subscribe(&["agent.*", "session.*"]).await;
    // The run is committed and told to everybody; only its caller has not heard yet.
    gateway.store.hold_outcomes();
    client
        .ws
        .send_json(&json!({ "jsonrpc": "2.0", "id": "run", "method": "agent.run", "params": { "message": "hi" } }))
        .await;
    let (topic, told) = watcher.event().await;
    assert_eq!(topic, "agent.accepted");
    assert_eq!(client.ws.unread().await, []);
    gateway.store.tell_outcomes();
    let answer = client.ws.json().await;
    assert_eq!((&answer["id"], &answer["result"]["run_id"]), (&json!("run"), &told["run_id"]));
    let topics = client.topics_until("agent.completed").await;
    assert_eq!(
        topics,
        ["session.created", "session.message", "agent.accepted", "agent.started", "session.message", "agent.completed"]
    );
}

#[tokio::test]
async fn subscriptions_take_effect_before_the_next_message_is_looked_at() {
    let gateway = gateway().await;
    let mut client = Client::open(&gateway).await;
    let call = |id: &str, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    // All at once, without waiting for any answer.
    client.ws.send_json(&call("c", "connect", json!({ "token": gateway.admin() }))).await;
    client
        .ws
        .send_json(&call("s", "events.subscribe", json!({ "patterns": ["agent.accepted", "agent.completed"] })))
        .await;
    client.ws.send_json(&call("u", "events.unsubscribe", json!({ "patterns": ["agent.completed"] }))).await;
    client.ws.send_json(&call("r", "agent.run", json!({ "message": "hi" }))).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let frame = client.ws.json().await;
        assert_eq!(frame.get("error"), None, "{frame}");
        seen.push(frame["id"].as_str().or(frame["params"]["topic"].as_str()).unwrap_or_default().to_owned());
    }
    assert_eq!(seen, ["c", "s", "u", "r", "agent.accepted"]);
    gateway.idle().await;
    assert_eq!(client.ws.unread().await, []);
}

#[tokio::test]
async fn a_call_that_waits_does_not_hold_up_others_until_sixty_four_wait() {
    let gateway = gateway().await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "done"));
    let run = gateway.say("agent:main:main", "hold the session").await;
    gate.reached().await;
    let mut client = Client::operator(&gateway).await;
    // Each waits for the run to end.
    let compact = |id: usize| json!({ "jsonrpc": "2.0", "id": id, "method": "session.compact", "params": { "session_key": "agent:main:main" } });
    for id in 0..63 {
        client.ws.send_json(&compact(id)).await;
    }
    assert_eq!(client.call("echo", json!(1)).await, Ok(json!(1)), "the sixty-fourth call is read and answered");
    client.ws.send_json(&compact(63)).await;
    client.ws.send_json(&json!({ "jsonrpc": "2.0", "id": "late", "method": "echo", "params": 2 })).await;
    let mut other = Client::operator(&gateway).await;
    assert_eq!(other.call("echo", json!(3)).await, Ok(json!(3)), "other connections go on");
    gate.open();
    gateway.ended(&run).await;
    let mut answered = Vec::new();
    for _ in 0..65 {
        answered.push(soon("an answer", client.ws.json()).await["id"].clone());
    }
    assert_ne!(answered[0], json!("late"), "it was not even read before a place was free");
    let mut ids: Vec<u64> = answered.iter().filter_map(Value::as_u64).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..64).collect::<Vec<_>>());
}

#[tokio::test]
async fn events_of_a_run_come_in_the_order_in_which_they_happened() {
    let gateway = gateway().await;
    let words: String = (0..500).map(|number| format!("word{number} ")).collect();
    let tools = Scripted::tool_calls([("c1", "current_time", json!({})), ("c2", "list_files", json!({ "path": "." }))]);
    gateway.provider.push(tools);
    gateway.provider.push(Scripted::text(&words));
    let mut own = Client::operator(&gateway).await;
    let mut watcher = Client::operator(&gateway).await;
    watcher.subscribe(&["stream.*", "agent.*"]).await;
    own.call("agent.run", json!({ "message": "tell me" })).await.unwrap();
    let (first, second) = tokio::join!(in_order(&mut own), in_order(&mut watcher));
    assert_eq!((first.as_str(), second.as_str()), (words.as_str(), words.as_str()));
}

/// Reads a run to its end; gives its text.
async fn in_order(client: &mut Client) -> String {
    let (mut text, mut last_seq, mut next_index) = (String::new(), None, 0);
    loop {
        let (topic, data) = client.event().await;
        let (seq, index) = (data["seq"].as_u64(), data["index"].as_u64());
        match topic.as_str() {
            "stream.chunk" => {
                assert_eq!(index, Some(next_index));
                next_index += 1;
                text.push_str(data["content"].as_str().unwrap());
            }
            "stream.token" => {
                assert_eq!((seq, index), (last_seq, Some(next_index - 1)), "a twin shares its numbers");
            }
            "agent.completed" => {
                assert_eq!(data["response"], json!(text));
                return text;
            }
            _ => {}
        }
        if let Some(seq) = seq.filter(|_| topic != "stream.token") {
            assert!(last_seq.is_none_or(|last| last < seq), "{topic} has seq {seq} after {last_seq:?}");
            last_seq = Some(seq);
        }
    }
}
