use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::support::{Gateway, Setup, TOKEN, answer, error, hi, rpc};
use model::{Scope, ScopeSet};

const API: &str = "a-token-for-these-routes-alone-0001";
const ADMIN: &str = "a-token-of-an-administrator-only-02";
const NOTHING: &str = "a-token-without-any-scope-at-all-03";
const MCP: &str = "a-token-for-the-mcp-endpoint-alone4";

async fn gateway() -> Gateway {
    let only = |scope: Scope| [scope].into_iter().collect::<ScopeSet>();
    let tokens = vec![
        (TOKEN, rpc(), vec![]),
        (API, ScopeSet::EMPTY, vec!["api"]),
        (ADMIN, only(Scope::Admin), vec![]),
        (NOTHING, ScopeSet::EMPTY, vec![]),
        (MCP, only(Scope::Mcp), vec![]),
    ];
    Gateway::with(Setup { tokens, ..Setup::default() }).await
}

async fn ask(gateway: &Gateway, method: Method, path: &str, credential: &str) -> (u16, Value) {
    let request = gateway.request(method, path).header(AUTHORIZATION, credential);
    // The helper's own header stays beside ours unless it is replaced.
    let mut request = request.build().unwrap();
    request.headers_mut().insert(AUTHORIZATION, credential.parse().unwrap());
    answer(reqwest::Client::new().execute(request).await.unwrap()).await
}

#[tokio::test]
async fn every_path_below_v1_wants_a_known_token() {
    let gateway = gateway().await;
    let refused = (401, error("Unauthorized", "authentication_error", None));
    for path in ["/v1/models", "/v1/models/x", "/v1/nothing", "/v1", "/v1/"] {
        assert_eq!(ask(&gateway, Method::GET, path, "Bearer nobody-knows-this-token").await, refused, "{path}");
    }
    for credential in ["", "Basic abc", "Bearer", "Bearer a b"] {
        assert_eq!(ask(&gateway, Method::POST, "/v1/chat/completions", credential).await, refused, "{credential}");
    }
    let in_query = format!("/v1/models?token={TOKEN}");
    assert_eq!(ask(&gateway, Method::GET, &in_query, "").await, refused);
}

#[tokio::test]
async fn the_scopes_rpc_and_api_let_in_and_no_other() {
    let gateway = gateway().await;
    for token in [TOKEN, API] {
        assert_eq!(ask(&gateway, Method::GET, "/v1/models", &format!("bearer {token}")).await.0, 200, "{token}");
    }
    for token in [ADMIN, NOTHING, MCP] {
        let refused = (403, error("Insufficient scope", "permission_error", None));
        assert_eq!(ask(&gateway, Method::GET, "/v1/models", &format!("Bearer {token}")).await, refused, "{token}");
    }
}

/// Method and path of every route in the table, with something for each parameter.
fn every_route() -> Vec<(Method, String)> {
    let mut generator = dialect::contract_http::generator();
    let paths = dialect_openai::paths(&mut generator);
    let mut routes = Vec::new();
    for (path, operations) in paths.as_object().unwrap() {
        let path = path.replace("{id}", "x").replace("{*model}", "x");
        assert!(!path.contains('{'), "{path}");
        for method in operations.as_object().unwrap().keys() {
            routes.push((Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(), path.clone()));
        }
    }
    routes
}

#[tokio::test]
async fn no_route_is_served_to_strangers_or_to_other_scopes() {
    let gateway = gateway().await;
    let routes = every_route();
    assert!(routes.len() >= 7, "{routes:?}");
    for (method, path) in routes {
        let refused = (401, error("Unauthorized", "authentication_error", None));
        for credential in ["", "Bearer nobody-knows-this-token"] {
            assert_eq!(ask(&gateway, method.clone(), &path, credential).await, refused, "{method} {path}");
        }
        let refused = (403, error("Insufficient scope", "permission_error", None));
        for token in [ADMIN, NOTHING, MCP] {
            let seen = ask(&gateway, method.clone(), &path, &format!("Bearer {token}")).await;
            assert_eq!(seen, refused, "{method} {path}");
        }
        for token in [TOKEN, API] {
            let (status, _) = ask(&gateway, method.clone(), &path, &format!("Bearer {token}")).await;
            assert!(!matches!(status, 401 | 403), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_not_found() {
    let gateway = Gateway::start().await;
    let not_found = (404, error("Not Found", "not_found_error", None));
    for (method, path) in [
        (Method::GET, "/v1"),
        (Method::GET, "/v1/"),
        (Method::GET, "/v1/files"),
        (Method::POST, "/v1/models"),
        (Method::GET, "/v1/chat/completions"),
        (Method::DELETE, "/v1/embeddings"),
        (Method::GET, "/v1/chat/completions/"),
        (Method::GET, "/v1/responses"),
        (Method::POST, "/v1/responses/resp_x"),
        (Method::GET, "/v1/responses/resp_x/input_items"),
    ] {
        let response = gateway.request(method.clone(), path).send().await.unwrap();
        assert!(!response.headers().contains_key("allow"));
        assert_eq!(answer(response).await, not_found, "{method} {path}");
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_json() {
    let gateway = Gateway::with(Setup { body_bytes_max: 2000, ..Setup::default() }).await;
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"] {
        let (status, body) = answer(gateway.post_text(path, "x".repeat(2001)).await).await;
        assert_eq!((status, body), (413, error("Request body too large", "invalid_request_error", None)));
        let chunks = vec!["x".repeat(1500); 2].into_iter().map(Ok::<_, std::io::Error>);
        let chunks = futures_util::stream::iter(chunks);
        let (status, _) = answer(gateway.post_text(path, reqwest::Body::wrap_stream(chunks)).await).await;
        assert_eq!(status, 413);
        for text in ["", "{", "nonsense", "\u{0}", &"[".repeat(200)] {
            let seen = answer(gateway.post_text(path, text.to_owned()).await).await;
            assert_eq!(seen, (400, error("Invalid JSON body", "invalid_request_error", None)), "{path} {text}");
        }
    }
    let content_type = gateway.request(Method::POST, "/v1/chat/completions").header("content-type", "text/plain");
    assert_eq!(content_type.body(hi("main").to_string()).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn too_many_requests_are_refused_in_words_that_sdks_know() {
    let gateway = Gateway::with(Setup { rate_max_requests: 1, ..Setup::default() }).await;
    let first = gateway.request(Method::GET, "/v1/models").send().await.unwrap();
    assert_eq!((first.status().as_u16(), &first.headers()["ratelimit-remaining"]), (200, &"0".parse().unwrap()));
    let second = gateway.request(Method::GET, "/v1/models").send().await.unwrap();
    assert_eq!(second.headers()["retry-after"], "60");
    let (status, body) = answer(second).await;
    assert_eq!((status, &body["error"]["type"]), (429, &json!("rate_limit_error")));
}
