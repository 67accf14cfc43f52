//! The walk over the table: who is refused what, and that a refusal leaves no trace.

use dialect_aleph::table::table;
use model::Scope;
use serde_json::json;

use crate::rig::{Client, folder, gateway};

/// Every scope but those in `without`; a token needs at least one.
fn all_but(without: Scope) -> Vec<Scope> {
    Scope::ALL.into_iter().filter(|scope| *scope != without && *scope != Scope::Mcp).collect()
}

#[tokio::test]
async fn nobody_calls_anything_before_connect_and_a_refusal_leaves_no_trace() {
    let gateway = gateway().await;
    let before = gateway.contents().await;
    let mut stranger = Client::open(&gateway).await;
    for method in table().iter() {
        let params = json!({ "run_id": "r-1", "message": "hello", "session_key": "agent:main:main", "id": "t-1" });
        assert_eq!(stranger.code(method.name, params).await, -32000, "{}", method.name);
    }
    assert_eq!(gateway.contents().await, before);
}

#[tokio::test]
async fn every_method_is_refused_to_a_token_without_its_scope() {
    let gateway = gateway().await;
    let mut clients = Vec::new();
    for scope in Scope::ALL.into_iter().filter(|scope| *scope != Scope::Mcp) {
        clients.push((scope, Client::with(&gateway, &all_but(scope)).await));
    }
    let before = gateway.contents().await;
    for method in table().iter() {
        let Some(scope) = method.scope else { continue };
        let (_, client) = clients.iter_mut().find(|(missing, _)| *missing == scope).expect("each scope has a client");
        let params = json!({ "run_id": "r-1", "message": "hello", "session_key": "agent:main:main", "id": "t-1" });
        assert_eq!(client.code(method.name, params).await, -32002, "{}", method.name);
    }
    assert_eq!(gateway.contents().await, before);
}

#[test]
fn every_method_is_documented_and_has_a_transcript() {
    let transcripts: String = std::fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| std::fs::read_to_string(entry.expect("and can be listed").path()).expect("and read"))
        .collect();
    for method in table().iter() {
        assert!(!method.docs.trim().is_empty(), "{} has no documentation", method.name);
        assert!(transcripts.contains(&format!("\"{}\"", method.name)), "{} has no transcript", method.name);
    }
}
