//! The life of a WebSocket connection.

use dialect_comis::ComisSettings;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{Gateway, START_MS, Socket, secret};

#[tokio::test]
async fn a_bad_token_is_told_after_the_upgrade() {
    let gateway = Gateway::start().await;
    let unauthorized = (4001, String::from("Unauthorized"));
    for (bearer, query) in [
        (None, String::new()),
        (Some("wrong"), String::new()),
        (None, "?token=wrong".into()),
        (Some("wrong"), format!("?token={}", secret("rpc"))),
    ] {
        let mut socket = Socket::connect(&gateway, bearer, &query).await.unwrap();
        assert_eq!(socket.closed().await, unauthorized, "{bearer:?} {query}");
    }
    let mut socket = Socket::connect(&gateway, None, &format!("?token={}", secret("rpc"))).await.unwrap();
    assert_eq!(socket.call("system.ping", json!({})).await["result"]["pong"], true);
    let mut socket = Socket::open(&gateway, "mcp").await;
    assert_eq!(socket.closed().await, (4003, "mcp-client tokens must use POST /mcp/v1".into()));
}

#[tokio::test]
async fn pages_of_other_sites_do_not_get_a_socket() {
    let gateway = Gateway::start().await;
    let from = |origin: &str| {
        let mut request = format!("ws://{}/ws?token={}", gateway.address, secret("rpc")).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        Socket::with_request(request)
    };
    assert_eq!(from("https://evil.example").await.err(), Some(403));
    assert!(from(&format!("http://{}", gateway.address)).await.is_ok());
}

#[tokio::test]
async fn oversize_is_answered_and_only_the_absurd_closes() {
    let gateway = Gateway::start_with(ComisSettings { ws_max_message_bytes: 100, ..ComisSettings::default() }).await;
    let mut socket = Socket::open(&gateway, "rpc").await;
    socket.send("x".repeat(101)).await;
    let refused = json!({ "jsonrpc": "2.0", "error": { "code": -32600, "message": "Message size 101 bytes exceeds maximum of 100" }, "id": null });
    assert_eq!(socket.next().await, refused);
    // UTF-16 units are counted, not bytes.
    socket.send(format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{}\",\"method\":\"system.ping\"}}", "é".repeat(50))).await;
    assert_eq!(socket.next().await["result"]["pong"], true);
    // The server does not wait for the rest, so sending may fail; the reason was told before.
    let _ = socket.try_send("x".repeat((16 << 20) + 1)).await;
    assert_eq!(socket.closed().await.0, 1009);
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_is_a_notification() {
    let gateway = Gateway::start_with(ComisSettings { ws_heartbeat_ms: 5000, ..ComisSettings::default() }).await;
    let mut socket = Socket::open(&gateway, "rpc").await;
    let begun = tokio::time::Instant::now();
    for _ in 0..2 {
        let beat: Value = serde_json::from_str(&socket.next_raw().await).unwrap();
        assert_eq!(beat, json!({ "jsonrpc": "2.0", "method": "heartbeat", "params": { "ts": START_MS } }));
    }
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn connections_are_told_when_the_gateway_stops() {
    let gateway = Gateway::start().await;
    let mut socket = Socket::open(&gateway, "rpc").await;
    assert_eq!(socket.call("system.ping", json!({})).await["result"]["pong"], true);
    let (closed, ()) = tokio::join!(socket.closed(), gateway.stop());
    assert_eq!(closed, (1001, "Server shutting down".into()));
}

#[tokio::test]
async fn connections_are_told_when_another_gateway_takes_the_place_of_this_one() {
    let gateway = Gateway::start().await;
    let mut socket = Socket::open(&gateway, "rpc").await;
    assert_eq!(socket.call("system.ping", json!({})).await["result"]["pong"], true);
    gateway.services.lifecycle.start_moving();
    let (closed, ()) = tokio::join!(socket.closed(), gateway.stop());
    assert_eq!(closed, (1012, "Service restart".into()));
}

#[tokio::test]
async fn connections_are_counted_while_they_last() {
    let gateway = Gateway::start().await;
    let mut socket = Socket::open(&gateway, "rpc").await;
    socket.call("system.ping", json!({})).await;
    assert_eq!(gateway.services.presence.connections(), 1);
}
