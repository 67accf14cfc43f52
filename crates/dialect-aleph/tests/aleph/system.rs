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
