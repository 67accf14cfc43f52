//! A client that does not read.

use std::sync::Arc;

use model::{AgentId, Event, RunId, RunRef, SessionKey, TextSoFar};
use serde_json::json;

use crate::rig::{Client, gateway};

#[tokio::test]
async fn a_slow_reader_loses_deltas_and_is_told_how_many_but_no_durable_event_and_no_answer() {
    const DELTAS: u64 = 20_000;
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    client.subscribe(&["stream.chunk", "config.*", "system.events_dropped"]).await;
    let run = RunRef {
        run_id: RunId::trusted("run_x"),
        session_key: SessionKey::main(&AgentId::main()),
        agent_id: AgentId::main(),
        quiet: false,
    };
    let text: Arc<str> = "x".repeat(1000).into();
    let now = gateway.services.clock.now();
    client.ws.send_json(&json!({ "jsonrpc": "2.0", "id": "answer", "method": "echo" })).await;
    let mut durable = Vec::new();
    for index in 0..DELTAS {
        gateway.services.bus.publish_ephemeral(now, false, || Event::RunDelta {
            run: run.clone(),
            seq: index,
            index,
            text: Arc::clone(&text),
            so_far: TextSoFar::new(),
        });
        if index % 1000 == 0 {
            let key = format!("key{index}");
            durable.push(json!([key]));
            let changed = Event::ConfigChanged { changed_keys: vec![key], source: "reload".into() };
            gateway.services.record(now, vec![changed]).await.unwrap();
        }
    }
    let last = Event::ConfigReloaded { changed_keys: vec![], source: "end".into() };
    gateway.services.record(now, vec![last]).await.unwrap();
    let (mut chunks, mut dropped, mut changed, mut answers) = (0, 0, Vec::new(), 0);
    loop {
        let frame = client.ws.json().await;
        let data = &frame["params"]["data"];
        match frame["params"]["topic"].as_str() {
            Some("stream.chunk") => chunks += 1,
            Some("system.events_dropped") => dropped += data["count"].as_u64().unwrap(),
            Some("config.changed") => changed.push(data["changed_keys"].clone()),
            Some("config.reloaded") => break,
            _ => answers += u64::from(frame["id"] == "answer"),
        }
    }
    assert_eq!((changed, answers), (durable, 1));
    assert!(dropped > 0, "the reader was not slow enough for this test");
    assert_eq!(chunks + dropped, DELTAS);
}
