//! What the gateway tells of itself.

use model::Event;
use serde_json::json;

use crate::rig::{Client, gateway};

#[tokio::test]
async fn ticks_go_only_to_those_who_spell_out_system() {
    let gateway = gateway().await;
    let mut curious = Client::operator(&gateway).await;
    curious.subscribe(&["**", "*.tick"]).await;
    let mut wanting = Client::operator(&gateway).await;
    wanting.subscribe(&["system.*"]).await;
    let at = gateway.services.clock.now();
    gateway.services.bus.publish_ephemeral(at, false, || Event::Tick { at, connections: 2, uptime_ms: 10 });
    let tick = json!({ "ts": at, "connections": 2, "uptime_ms": 10 });
    assert_eq!(wanting.event().await, (String::from("system.tick"), tick));
    assert_eq!(curious.ws.unread().await, []);
}

#[tokio::test]
async fn a_gateway_that_stops_says_so_and_closes() {
    let gateway = gateway().await;
    let mut told = Client::operator(&gateway).await;
    told.subscribe(&["system.shutdown"]).await;
    let mut untold = Client::open(&gateway).await;
    let at = gateway.services.clock.now();
    gateway.services.bus.publish_ephemeral(at, false, || Event::ShuttingDown {
        reason: "restart".into(),
        restart_expected_ms: None,
        grace_ms: 5000,
    });
    let shutdown = json!({ "reason": "restart", "grace_period_ms": 5000 });
    assert_eq!(told.event().await, (String::from("system.shutdown"), shutdown));
    let (stopped, first, second) = tokio::join!(gateway.stop(), told.ws.closed(), untold.ws.closed());
    assert_eq!((stopped, first, second), ((), 1001, 1001));
}

#[tokio::test]
async fn a_gateway_that_moves_answers_what_it_has_read_and_closes_with_1012() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    let mut other = Client::open(&gateway).await;
    gateway.store.hold_next();
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "agent.run", "params": { "message": "hi" } });
    client.ws.send_json(&call).await;
    gateway.store.reached(1).await;
    let lifecycle = gateway.services.lifecycle.clone();
    lifecycle.start_moving();
    let moving = lifecycle.halt(std::time::Duration::from_secs(60));
    let asking = async {
        // By now the gateway halts; the call was read before.
        gateway.store.let_go();
        let answer = client.ws.json().await;
        assert_eq!((&answer["id"], answer["result"]["run_id"].is_string()), (&json!(7), true), "{answer}");
        assert_eq!((client.ws.closed().await, other.ws.closed().await), (1012, 1012));
    };
    let (halted, ()) = tokio::join!(moving, asking);
    assert!(halted);
    let runs = gateway.contents().await.unfinished;
    assert_eq!(runs.len(), 1, "it is written down, for the next gateway: {runs:?}");
}

#[tokio::test]
async fn a_gateway_that_drains_takes_no_new_message() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    gateway.services.lifecycle.drain();
    let before = gateway.contents().await;
    let error = client.call("agent.run", json!({ "message": "hi" })).await.unwrap_err();
    assert_eq!((&error["code"], &error["data"]), (&json!(-32003), &json!({ "retry_after_ms": 1000 })));
    assert_eq!(gateway.contents().await, before);
}

#[tokio::test]
async fn a_database_that_is_away_is_told_and_the_connection_goes_on() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    for fault in [testkit::store::Fault::Refuse, testkit::store::Fault::FailCommit] {
        gateway.store.set_fault(fault);
        let error = client.call("agent.run", json!({ "message": "hi" })).await.unwrap_err();
        assert_eq!(error["code"], json!(-32003), "{error}");
    }
    gateway.store.set_fault(testkit::store::Fault::None);
    assert_eq!(gateway.contents().await.sessions, []);
    let result = client.call("agent.run", json!({ "message": "hi", "stream": false })).await.unwrap();
    assert_eq!(result["status"], json!("running"));
    assert_eq!(client.topics_until("agent.completed").await, ["agent.started", "agent.completed"]);
}
