//! How often and how much, and what pages of other sites are told.

use dialect_comis::{ComisSettings, MessageRateLimit, RateLimit};
use serde_json::{Value, json};

use crate::support::{Gateway, Http, Reply, Socket, secret};

fn limited() -> Value {
    json!({ "jsonrpc": "2.0", "error": { "code": -32000, "message": "Rate limit exceeded" }, "id": null })
}

fn rates(reply: &Reply) -> Vec<&str> {
    ["ratelimit-limit", "ratelimit-policy", "ratelimit-remaining", "ratelimit-reset", "retry-after"]
        .into_iter()
        .filter_map(|name| reply.header(name))
        .collect()
}

fn settings(max_requests: u64) -> ComisSettings {
    ComisSettings { rate_limit: RateLimit { window_ms: 60_000, max_requests }, ..ComisSettings::default() }
}

#[tokio::test]
async fn each_token_has_a_window_of_its_own_and_strangers_share_that_of_their_address() {
    let gateway = Gateway::start_with(settings(2)).await;
    let http = Http::with(&gateway, "rpc");
    assert_eq!(rates(&http.get("/api/agents").await), ["2", "2;w=60", "1", "60"]);
    gateway.clock.advance_ms(30_500);
    let missing = http.get("/no-such").await;
    assert_eq!((missing.status, rates(&missing)), (404, vec![]), "not a route of ours");
    assert_eq!(rates(&http.get("/api/no-such").await), ["2", "2;w=60", "0", "30"]);
    let refused = http.get("/api/agents").await;
    assert_eq!((refused.told(), rates(&refused)), ((429, limited()), vec!["2", "2;w=60", "0", "30", "30"]));
    assert_eq!(http.post("/rpc", &json!({})).await.told(), (429, limited()));
    for path in ["/health", "/api/health"] {
        let free = http.get(path).await;
        assert_eq!((free.status, rates(&free)), (200, vec![]), "{path}");
    }
    assert_eq!(Http::with(&gateway, "all").get("/api/agents").await.status, 200);
    let anonymous = Http::anonymous(&gateway);
    for status in [401, 401, 429] {
        assert_eq!(anonymous.get("/api/agents").await.status, status, "counted before it is refused");
    }
    gateway.clock.advance_ms(29_500);
    assert_eq!(http.get("/api/agents").await.status, 200, "a new window");
}

#[tokio::test]
async fn an_upgrade_over_the_limit_is_refused_before_it_is_one() {
    for path in ["/ws", "/comis"] {
        let gateway = Gateway::start_with(settings(2)).await;
        let bearer = secret("rpc");
        let mut first = Socket::connect_to(&gateway, path, Some(&bearer)).await.unwrap();
        assert_eq!(first.call("system.ping", json!({})).await["result"]["pong"], true);
        assert!(Socket::connect_to(&gateway, path, Some(&bearer)).await.is_ok(), "each of them counts once");
        assert_eq!(Socket::connect_to(&gateway, path, Some(&bearer)).await.err(), Some(429));
    }
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_clients() {
    let trusted = ComisSettings { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..settings(1) };
    let gateway = Gateway::start_with(trusted).await;
    let anonymous = Http::anonymous(&gateway);
    let from = |client: &str| anonymous.send(anonymous.request("GET", "/api/agents").header("x-forwarded-for", client));
    assert_eq!(from("203.0.113.1, 10.0.0.1").await.status, 401);
    assert_eq!(from("203.0.113.1").await.status, 429);
    assert_eq!(from("203.0.113.2").await.status, 401);
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused_announced_or_not() {
    let gateway = Gateway::start_with(ComisSettings { http_body_limit_bytes: 64, ..ComisSettings::default() }).await;
    let http = Http::with(&gateway, "rpc");
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(64));
    let chunked = || {
        let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
            long.as_bytes().chunks(16).map(|chunk| Ok(chunk.to_vec())).collect();
        reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
    };
    let refused = (413, json!({ "error": "Request body too large" }));
    for path in ["/api/chat", "/api/chat/stream"] {
        assert_eq!(http.post_text(path, "application/json", long.as_str()).await.told(), refused, "{path}");
        let request = http.request("POST", path).header("content-type", "application/json").body(chunked());
        assert_eq!(http.send(request).await.told(), refused, "{path}, chunked");
    }
    let refused =
        json!({ "jsonrpc": "2.0", "error": { "code": -32600, "message": "Request body too large" }, "id": null });
    assert_eq!(http.post_text("/rpc", "application/json", long.as_str()).await.told(), (413, refused));
    assert_eq!(gateway.provider.requests().len(), 0);
}

#[tokio::test]
async fn only_json_is_read() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    let words = "Content-Type must be application/json";
    for path in ["/api/chat", "/api/chat/stream"] {
        assert_eq!(
            http.post_text(path, "text/plain", r#"{"message":"Hi"}"#).await.told(),
            (415, json!({ "error": words }))
        );
    }
    let refused = json!({ "jsonrpc": "2.0", "error": { "code": -32600, "message": words }, "id": null });
    assert_eq!(http.post_text("/rpc", "text/plain", "{}").await.told(), (415, refused));
    let typed = http.post_text("/api/chat", "Application/JSON; charset=utf-8", r#"{"message":"Hi"}"#).await;
    assert_eq!(typed.status, 200);
    let deep = format!("{{\"message\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    assert_eq!(
        http.post_text("/api/chat", "application/json", deep).await.told(),
        (400, json!({ "error": "Invalid JSON body" }))
    );
}

#[tokio::test]
async fn allowed_pages_may_read_answers_and_others_may_not() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    let ask = |method: &str, path: &str, origin: &str| http.send(http.request(method, path).header("origin", origin));
    let allowed = "https://good.example";
    let plain = ask("GET", "/api/agents", allowed).await;
    assert_eq!((plain.header("access-control-allow-origin"), plain.header("vary")), (None, None), "off by default");
    assert_eq!(ask("OPTIONS", "/api/agents", allowed).await.status, 404);

    gateway.change(|settings| settings.cors_origins = vec![allowed.into()]);
    let reply = ask("GET", "/api/agents", allowed).await;
    assert_eq!((reply.header("access-control-allow-origin"), reply.header("vary")), (Some(allowed), Some("Origin")));
    let foreign = ask("GET", "/api/agents", "https://evil.example").await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (200, None));

    let anonymous = Http::anonymous(&gateway);
    let refused = anonymous.send(anonymous.request("GET", "/api/agents").header("origin", allowed)).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(allowed)));
    let preflight = anonymous.send(anonymous.request("OPTIONS", "/api/chat").header("origin", allowed)).await;
    assert_eq!(preflight.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", allowed),
        ("access-control-allow-methods", "GET,POST,OPTIONS"),
        ("access-control-allow-headers", "Authorization,Content-Type"),
        ("access-control-max-age", "3600"),
        ("vary", "Origin, Access-Control-Request-Headers"),
    ] {
        assert_eq!(preflight.header(name), Some(value));
    }
    gateway.change(|settings| settings.cors_origins = vec!["*".into()]);
    assert_eq!(ask("GET", "/api/agents", "https://any.example").await.header("access-control-allow-origin"), Some("*"));
    gateway.change(|settings| settings.rate_limit.max_requests = 1);
    let limited = ask("GET", "/api/agents", "https://any.example").await;
    assert_eq!((limited.status, limited.header("access-control-allow-origin")), (429, Some("*")));
}

#[tokio::test]
async fn messages_of_a_connection_are_limited_in_a_sliding_window() {
    let limit = MessageRateLimit { max_messages: 2, window_ms: 1000 };
    let gateway = Gateway::start_with(ComisSettings { ws_message_rate_limit: limit, ..ComisSettings::default() }).await;
    let mut socket = Socket::open(&gateway, "rpc").await;
    let refused =
        json!({ "jsonrpc": "2.0", "error": { "code": -32000, "message": "Message rate limit exceeded" }, "id": null });
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "system.ping" });
    // A batch is one message; binary ones are not counted.
    socket.send(json!([ping, ping, ping]).to_string()).await;
    assert_eq!(socket.next().await.as_array().unwrap().len(), 3);
    socket.send_binary(vec![1]).await;
    assert_eq!(socket.next().await["error"]["message"], "Binary messages not supported");
    gateway.clock.advance_ms(600);
    assert_eq!(socket.call("system.ping", json!({})).await["result"]["pong"], true);
    assert_eq!(socket.call("system.ping", json!({})).await, refused);
    gateway.clock.advance_ms(400);
    assert_eq!(socket.call("system.ping", json!({})).await["result"]["pong"], true);
    assert_eq!(socket.call("system.ping", json!({})).await, refused);
    let mut other = Socket::open(&gateway, "rpc").await;
    assert_eq!(other.call("system.ping", json!({})).await["result"]["pong"], true);
}
