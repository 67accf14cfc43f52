use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Gateway, error};

fn entry(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 0, "owned_by": id.split('/').next().unwrap() })
}

#[tokio::test]
async fn the_catalogue_begins_with_the_agents_and_has_nothing_twice() {
    let gateway = Gateway::start().await;
    let (status, list) = gateway.get("/v1/models").await;
    let ids = ["scripted/default", "up/vendor-model", "agent/main", "agent/second"];
    assert_eq!((status, list), (200, json!({ "object": "list", "data": ids.map(entry) })));
}

#[tokio::test]
async fn one_model_is_read_by_either_spelling() {
    let gateway = Gateway::start().await;
    for (path, id) in [
        ("/v1/models/scripted/default", "scripted/default"),
        ("/v1/models/scripted%2Fdefault", "scripted/default"),
        ("/v1/models/up/meta/llama-4%3Afree", "up/meta/llama-4:free"),
        ("/v1/models/agent/main", "agent/main"),
        ("/v1/models/second", "second"),
    ] {
        assert_eq!(gateway.get(path).await, (200, entry(id)), "{path}");
    }
}

#[tokio::test]
async fn unknown_and_undecodable_models_are_not_found() {
    let gateway = Gateway::start().await;
    for path in [
        "/v1/models/nobody/x",
        "/v1/models/nobody",
        "/v1/models/agent/off",
        "/v1/models/agent/nobody",
        "/v1/models/%FF",
        "/v1/models/up/",
    ] {
        assert_eq!(gateway.get(path).await, (404, error("Model not found", "not_found_error", None)), "{path}");
    }
}

#[tokio::test]
async fn head_answers_with_headers_alone() {
    let gateway = Gateway::start().await;
    let response = gateway.request(Method::HEAD, "/v1/models").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
        (200, "application/json")
    );
    assert_eq!(response.bytes().await.unwrap().len(), 0);
}
