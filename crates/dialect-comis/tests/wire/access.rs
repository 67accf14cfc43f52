//! Who may call what: a walk over the tables themselves.

use std::collections::BTreeMap;

use dialect::http::{Grant, Grants};
use serde_json::{Value, json};

use crate::support::{Gateway, Http, Socket, TOKENS, secret};

/// Method and path of every route that wants a credential.
fn guarded_routes() -> Vec<(String, String)> {
    let mut generator = dialect::contract_http::generator();
    let paths = dialect_comis::paths(&mut generator);
    let mut routes = Vec::new();
    for (path, operations) in paths.as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["security"] != json!([]) {
                routes.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    assert!(routes.len() >= 7, "{routes:?}");
    routes
}

/// A call that would do something if it were let in.
fn tempting(path: &str) -> Value {
    match path {
        "/rpc" => json!({ "jsonrpc": "2.0", "id": 1, "method": "agent.execute", "params": { "message": "Hi" } }),
        _ => json!({ "message": "Hi" }),
    }
}

async fn send(client: &Http<'_>, method: &str, path: &str) -> (u16, Value) {
    let reply = match method {
        "GET" => client.get(&format!("{path}?message=Hi")).await,
        _ => client.post(path, &tempting(path)).await,
    };
    reply.told()
}

async fn assert_nothing_happened(gateway: &Gateway) {
    assert_eq!(gateway.provider.requests().len(), 0);
    assert_eq!(gateway.services.bus.newest().0, 0, "nothing was written");
}

#[tokio::test]
async fn strangers_are_refused_everywhere_and_nothing_happens() {
    let gateway = Gateway::start().await;
    for (method, path) in guarded_routes() {
        let expected = match path.as_str() {
            "/rpc" => json!({ "jsonrpc": "2.0", "error": { "code": -32001, "message": "Unauthorized" }, "id": null }),
            _ => json!({ "error": "Unauthorized" }),
        };
        let anonymous = Http::anonymous(&gateway);
        assert_eq!(send(&anonymous, &method, &path).await, (401, expected.clone()), "{method} {path}");
        let wrong = Http::with(&gateway, "somebody");
        assert_eq!(send(&wrong, &method, &path).await, (401, expected), "{method} {path}");
    }
    assert_nothing_happened(&gateway).await;
}

#[tokio::test]
async fn tokens_without_the_scope_are_refused_and_nothing_happens() {
    let gateway = Gateway::start().await;
    for (method, path) in guarded_routes().into_iter().filter(|(_, path)| path != "/rpc") {
        for token in ["admin", "api", "none", "mcp"] {
            let told = send(&Http::with(&gateway, token), &method, &path).await;
            assert_eq!(told, (403, json!({ "error": "Forbidden: insufficient scope" })), "{token}: {method} {path}");
        }
    }
    assert_nothing_happened(&gateway).await;
}

#[tokio::test]
async fn every_method_asks_for_its_scope_before_it_looks_at_anything() {
    let gateway = Gateway::start().await;
    let wanted: BTreeMap<&str, Grant> = gateway
        .comis
        .table()
        .iter()
        .map(|method| (method.name, if method.scope == Some(model::Scope::Admin) { Grant::Admin } else { Grant::Rpc }))
        .collect();
    assert_eq!(wanted.len(), 14, "{wanted:?}");
    for (token, words) in TOKENS.iter().filter(|(token, _)| *token != "mcp") {
        let grants = Grants::from_words(words.iter().copied());
        let mut socket = Socket::open(&gateway, token).await;
        let http = Http::with(&gateway, token);
        for (method, grant) in wanted.iter().filter(|(_, grant)| !grants.has(**grant)) {
            let refused = json!({ "jsonrpc": "2.0", "id": 1, "error": {
                "code": -32603,
                "message": format!("Insufficient scope: requires '{}'", grant.word()),
                "data": { "clientId": token, "required": grant.word() },
            }});
            assert_eq!(socket.call(method, json!({})).await, refused);
            let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": {} });
            assert_eq!(http.post("/rpc", &request).await.told(), (200, refused));
        }
    }
    assert_nothing_happened(&gateway).await;
}

#[tokio::test]
async fn below_api_the_credential_comes_before_the_route() {
    let gateway = Gateway::start().await;
    let (anonymous, rpc) = (Http::anonymous(&gateway), Http::with(&gateway, "rpc"));
    for (method, path) in
        [("GET", "/api/no-such"), ("DELETE", "/api/agents"), ("GET", "/api/agents/"), ("GET", "/api/")]
    {
        assert_eq!(
            anonymous.call(method, path).await.told(),
            (401, json!({ "error": "Unauthorized" })),
            "{method} {path}"
        );
        let reply = rpc.call(method, path).await;
        assert_eq!(reply.told(), (404, json!({ "error": "Not Found" })), "{method} {path}");
        assert_eq!(reply.header("allow"), None);
    }
    for (method, path) in [("GET", "/no-such"), ("GET", "/api"), ("GET", "/ws"), ("PUT", "/rpc")] {
        assert_eq!(
            anonymous.call(method, path).await.told(),
            (404, json!({ "error": "Not Found" })),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_token_in_the_query_counts_where_browsers_need_it_and_a_header_wins() {
    let gateway = Gateway::start().await;
    let token = secret("rpc");
    let (anonymous, none) = (Http::anonymous(&gateway), Http::with(&gateway, "none"));
    assert_eq!(anonymous.get(&format!("/api/agents?token={token}")).await.status, 401);
    assert_eq!(anonymous.call("HEAD", &format!("/api/events?token={token}")).await.status, 200);
    assert_eq!(anonymous.get(&format!("/api/chat/stream?message=Hi&token={token}")).await.status, 200);
    assert_eq!(none.call("HEAD", &format!("/api/events?token={token}")).await.status, 403);
    // A header that is not of the right form counts as no header.
    let broken = anonymous.request("HEAD", &format!("/api/events?token={token}")).header("authorization", "Basic x");
    assert_eq!(anonymous.send(broken).await.status, 200);
}

#[tokio::test]
async fn without_required_authentication_only_a_wrong_token_is_refused() {
    let gateway = Gateway::start().await;
    gateway.comis.gate().require_auth_when(|| false);
    assert_eq!(Http::anonymous(&gateway).get("/api/agents").await.status, 200);
    assert_eq!(Http::with(&gateway, "somebody").get("/api/agents").await.status, 401);
    let mut socket = Socket::connect(&gateway, None, "").await.unwrap();
    assert_eq!(socket.call("session.list", json!({})).await["result"]["total"], 0);
}

#[tokio::test]
async fn pages_of_other_sites_cannot_make_the_gateway_act() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    let from = |method: &str, path: &str, origin: &str| {
        http.request(method, path).header("origin", origin).json(&json!({ "message": "Hi" }))
    };
    let refused = (403, json!({ "error": "Forbidden: origin not allowed" }));
    for (method, path) in [("POST", "/api/chat"), ("POST", "/rpc"), ("GET", "/api/chat/stream?message=Hi")] {
        assert_eq!(http.send(from(method, path, "https://evil.example")).await.told(), refused, "{method} {path}");
    }
    assert_eq!(gateway.provider.requests().len(), 0);
    assert_eq!(http.send(from("POST", "/api/chat", "http://localhost:3000")).await.status, 200);
    gateway.change(|settings| settings.cors_origins = vec!["https://good.example".into()]);
    assert_eq!(http.send(from("POST", "/api/chat", "https://good.example")).await.status, 200);
    assert_eq!(
        http.send(from("GET", "/api/agents", "https://evil.example")).await.status,
        200,
        "reading is the browser's to forbid"
    );
}

#[tokio::test]
async fn web_switched_off_takes_the_api_away_and_leaves_the_rest() {
    let gateway = Gateway::start().await;
    gateway.change(|settings| settings.web.enabled = false);
    let http = Http::with(&gateway, "all");
    for path in ["/api/health", "/api/agents", "/api/events", "/api/no-such"] {
        assert_eq!(http.get(path).await.told(), (404, json!({ "error": "Not Found" })), "{path}");
    }
    assert_eq!(http.get("/health").await.status, 200);
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "system.ping" });
    assert_eq!(http.post("/rpc", &ping).await.status, 200);
}
