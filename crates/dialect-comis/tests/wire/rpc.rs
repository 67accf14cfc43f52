//! JSON-RPC framing over both transports.

use dialect_comis::ComisSettings;
use providers::testkit::{Gate, Scripted};
use serde_json::{Value, json};

use crate::support::{Gateway, Http, Socket, in_time};

fn error(code: i64, message: &str, id: Value) -> Value {
    json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message }, "id": id })
}

/// Texts and what both transports answer to them.
fn texts() -> Vec<(String, Value)> {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let ping = r#"{"jsonrpc":"2.0","method":"system.ping","id":1}"#;
    let many = format!("[{}]", vec![ping; 51].join(","));
    vec![
        ("{".into(), error(-32700, "Parse error", json!(null))),
        (String::new(), error(-32700, "Parse error", json!(null))),
        (deep, error(-32700, "Parse error", json!(null))),
        ("{} {}".into(), error(-32700, "Parse error", json!(null))),
        ("null".into(), error(-32600, "Invalid Request", json!(null))),
        ("\"text\"".into(), error(-32600, "Invalid Request", json!(null))),
        ("[]".into(), error(-32600, "Invalid Request", json!(null))),
        (many, error(-32600, "Batch size 51 exceeds maximum of 50", json!(null))),
        (r#"{"jsonrpc":"2.0","id":5}"#.into(), error(-32600, "Invalid Request", json!(5))),
        (
            r#"{"jsonrpc":"2.0","id":5,"method":"system.ping","params":7}"#.into(),
            error(-32600, "Invalid Request", json!(5)),
        ),
        (r#"{"jsonrpc":"2.0","id":"a","method":"no.such"}"#.into(), error(-32601, "Method not found", json!("a"))),
        (
            r#"[{"jsonrpc":"2.0","id":"a","method":"no.such"}]"#.into(),
            json!([error(-32601, "Method not found", json!("a"))]),
        ),
        (
            "[1,null]".into(),
            json!([error(-32600, "Invalid Request", json!(null)), error(-32600, "Invalid Request", json!(null))]),
        ),
    ]
}

#[tokio::test]
async fn both_transports_say_the_same() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    let mut socket = Socket::open(&gateway, "rpc").await;
    for (text, expected) in texts() {
        assert_eq!(
            http.post_text("/rpc", "application/json", text.as_str()).await.told(),
            (200, expected.clone()),
            "{text:.60}"
        );
        socket.send(text.as_str()).await;
        assert_eq!(socket.next().await, expected, "{text:.60}");
    }
    let invalid =
        http.send(http.request("POST", "/rpc").header("content-type", "application/json").body(vec![0xff])).await;
    assert_eq!(invalid.told(), (200, error(-32700, "Parse error", json!(null))));
}

#[tokio::test]
async fn ids_come_back_byte_for_byte() {
    let gateway = Gateway::start().await;
    let mut socket = Socket::open(&gateway, "rpc").await;
    for id in ["1.50", "-0", "123456789012345678901234567890", "\"\\u0041\"", "null"] {
        socket.send(format!(r#"{{"jsonrpc":"2.0","method":"system.ping","id":{id}}}"#)).await;
        assert!(socket.next_raw().await.ends_with(&format!(",\"id\":{id}}}")), "{id}");
    }
}

#[tokio::test]
async fn notifications_run_and_are_not_answered() {
    let gateway = Gateway::start().await;
    let mut events = Http::with(&gateway, "rpc").events(None).await;
    let mut socket = Socket::open(&gateway, "rpc").await;
    socket.send(r#"{"jsonrpc":"2.0","method":"agent.execute","params":{"message":"Quietly"}}"#).await;
    socket.send(r#"{"jsonrpc":"2.0","method":"no.such"}"#).await;
    assert_eq!(events.next_named("message:sent").await.json()["content"], "Quietly");
    assert_eq!(socket.call("system.ping", json!({})).await["id"], 1, "the first thing that was answered");
}

#[tokio::test]
async fn a_slow_call_holds_up_no_other_and_a_batch_keeps_its_order() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "late"));
    let mut socket = Socket::open(&gateway, "rpc").await;
    let slow = json!({ "jsonrpc": "2.0", "id": "slow", "method": "agent.execute", "params": { "message": "Hi" } });
    let quick = json!({ "jsonrpc": "2.0", "id": "quick", "method": "system.ping" });
    socket.send(json!([slow, quick]).to_string()).await;
    in_time("the slow call", gate.reached()).await;
    assert_eq!(socket.call("system.ping", json!({})).await["id"], 1);
    gate.open();
    let batch = socket.next().await;
    assert_eq!(
        (&batch[0]["id"], &batch[0]["result"]["response"], &batch[1]["id"]),
        (&json!("slow"), &json!("late"), &json!("quick"))
    );
}

#[tokio::test]
async fn calls_beyond_the_pending_ones_are_refused_and_the_rest_is_answered() {
    let settings = ComisSettings { max_batch_size: 1000, ..ComisSettings::default() };
    let gateway = Gateway::start_with(settings).await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "late"));
    let mut socket = Socket::open(&gateway, "rpc").await;
    let call = |id: usize, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "message": "Hi" } });
    // All calls of a batch are pending until the last of them is done.
    let held: Vec<Value> = (0..256).map(|id| call(id, if id == 0 { "agent.execute" } else { "system.ping" })).collect();
    socket.send(json!(held).to_string()).await;
    in_time("the slow call", gate.reached()).await;
    socket.send(call(300, "system.ping").to_string()).await;
    assert_eq!(socket.next().await, error(-32000, "Too many pending requests", json!(300)));
    socket.send(json!([call(301, "system.ping")]).to_string()).await;
    assert_eq!(socket.next().await, json!([error(-32000, "Too many pending requests", json!(301))]));
    gate.open();
    assert_eq!(socket.next().await.as_array().unwrap().len(), 256);
    assert_eq!(socket.call("system.ping", json!({})).await["result"]["pong"], true);
}

#[tokio::test]
async fn an_exported_conversation_is_one_line_of_json() {
    let gateway = Gateway::start().await;
    gateway.given_turn("agent:main:main", "Hello").await;
    gateway.given_turn("agent:main:comis:default:ann:web", "There").await;
    let mut socket = Socket::open(&gateway, "admin").await;
    let answer = socket.call("session.export", json!({ "keys": ["gateway", "default:ann:web"] })).await;
    let lines: Vec<Value> =
        answer["result"].as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: Vec<&str> = lines.iter().map(|line| line["sessionKey"].as_str().unwrap()).collect();
    assert_eq!(keys, ["agent:main:main", "default:ann:web"]);
    assert_eq!(lines[1]["messages"][1]["content"], "There");
}
