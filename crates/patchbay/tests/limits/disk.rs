//! A disk that takes no more, in the middle of commits.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;

use crate::rig::{Client, Gateway};

/// "Try again."
const TRY_AGAIN: i64 = -32003;
/// As much as a message may have, so that a disk is soon full.
const MESSAGE_BYTES: usize = 100_000;
/// Refusals before the disk is mended.
const REFUSALS: usize = 20;
const SESSION: &str = "agent:main:dm:disk";

fn text(number: usize) -> String {
    format!("{number} {}", "x".repeat(MESSAGE_BYTES))
}

/// Says so many messages; each is accepted, or the client is told to try again.
async fn say(client: &mut Client, sent: &mut BTreeMap<usize, bool>, refusals: usize) {
    let mut refused = 0;
    while refused < refusals {
        let number = sent.len();
        let params =
            json!({ "message": text(number), "session_key": SESSION, "idempotency_key": format!("r-{number}") });
        let answer = client.call("agent.run", params).await;
        sent.insert(number, answer.is_ok());
        if let Err((code, message)) = answer {
            assert_eq!(code, TRY_AGAIN, "{message}");
            refused += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_or_read_only_loses_and_doubles_nothing_and_is_used_again_once_it_is_mended() {
    let gateway = Gateway::start(String::from("Done.")).await;
    let mut client = Client::connect(&gateway).await;
    let mut sent = BTreeMap::new();
    // Twice each: what went wrong once must not stay wrong.
    for round in 0..2 {
        gateway.limit_files(Some(gateway.database_bytes() + 1_000_000));
        say(&mut client, &mut sent, REFUSALS).await;
        // Whoever asks is answered from what is there.
        let history = client.call("session.history", json!({ "session_key": SESSION, "limit": 1 })).await;
        assert_eq!(history.expect("reads go on")["messages"].as_array().map(Vec::len), Some(1));
        gateway.limit_files(Some(0));
        say(&mut client, &mut sent, REFUSALS).await;
        gateway.limit_files(None);
        let number = sent.len();
        let params =
            json!({ "message": text(number), "session_key": SESSION, "idempotency_key": format!("r-{number}") });
        gateway
            .wait_until("a message is accepted again", async || client.call("agent.run", params.clone()).await.is_ok())
            .await;
        sent.insert(number, true);
        gateway.wait_until("all runs end", async || gateway.gauge("patchbay_runs_unfinished").await == 0).await;
        println!("round {round}: {} of {} messages accepted", sent.values().filter(|is| **is).count(), sent.len());
    }
    count(&gateway, &sent).await;
}

/// Each accepted message stands once, no other does, each run has one end, cursors have no gap.
async fn count(gateway: &Gateway, sent: &BTreeMap<usize, bool>) {
    let mut client = Client::connect(gateway).await;
    let history = client.call("session.history", json!({ "session_key": SESSION, "limit": 1000 })).await;
    let history = history.expect("it can be read");
    let users = history["messages"].as_array().into_iter().flatten().filter(|message| message["role"] == "user");
    let mut stored: BTreeMap<usize, usize> = BTreeMap::new();
    for message in users {
        let number = message["content"].as_str().and_then(|text| text.split(' ').next()?.parse().ok());
        *stored.entry(number.expect("each begins with its number")).or_default() += 1;
    }
    let accepted = sent.iter().filter(|(_, is_accepted)| **is_accepted).map(|(number, _)| (*number, 1)).collect();
    assert_eq!(stored, accepted, "each accepted message stands once, and no other");
    client.call("events.subscribe", json!({ "patterns": ["*"], "after": 0 })).await.expect("the log can be followed");
    let (mut cursor, mut ends) = (0, HashMap::<String, usize>::new());
    while ends.len() < stored.len() {
        let frame = client.frame().await;
        let params = &frame["params"];
        if let Some(at) = params["cursor"].as_u64() {
            assert_eq!(at, cursor + 1, "cursors have no gap");
            cursor = at;
        }
        if let Some("agent.completed" | "agent.error" | "agent.cancelled") = params["topic"].as_str() {
            *ends.entry(params["data"]["run_id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    assert!(ends.values().all(|times| *times == 1), "runs that ended more than once: {ends:?}");
}
