use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::ModelRef;
use providers::testkit::Reply;
use serde_json::{Value, json};

use crate::support::{Gateway, Setup, answer, error};

async fn embed(gateway: &Gateway, body: Value) -> (u16, Value) {
    answer(gateway.post("/v1/embeddings", body).await).await
}

fn floats(text: &str) -> Vec<f32> {
    let bytes = STANDARD.decode(text).unwrap();
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

#[tokio::test]
async fn any_model_name_means_the_gateways_embedder() {
    let setup = Setup { embedder: Some(ModelRef::new("scripted", "embed-1")), ..Setup::default() };
    let gateway = Gateway::with(setup).await;
    let (status, list) =
        embed(&gateway, json!({ "model": "text-embedding-3-small", "input": "hello", "whatever": true })).await;
    assert_eq!((status, &list["object"], &list["model"]), (200, &json!("list"), &json!("scripted/embed-1")));
    // Five characters are two tokens.
    assert_eq!(list["usage"], json!({ "prompt_tokens": 2, "total_tokens": 2 }));
    let data = list["data"].as_array().unwrap();
    assert_eq!((data.len(), &data[0]["object"], &data[0]["index"]), (1, &json!("embedding"), &json!(0)));
    assert_eq!(data[0]["embedding"].as_array().unwrap().len(), 32);
}

#[tokio::test]
async fn base64_holds_the_same_numbers() {
    let gateway = Gateway::start().await;
    let ask =
        |encoding: &str| json!({ "model": "scripted/e", "input": ["one", "two words"], "encoding_format": encoding });
    let (_, plain) = embed(&gateway, ask("float")).await;
    let (status, packed) = embed(&gateway, ask("base64")).await;
    assert_eq!((status, &packed["usage"]["prompt_tokens"]), (200, &json!(4)));
    for index in 0..2 {
        let numbers: Vec<f32> = serde_json::from_value(plain["data"][index]["embedding"].clone()).unwrap();
        assert_eq!(floats(packed["data"][index]["embedding"].as_str().unwrap()), numbers);
        assert!(numbers.iter().any(|number| *number != 0.0));
    }
    assert_eq!(gateway.scripted.embedded(), ["one", "two words", "one", "two words"]);
}

#[tokio::test]
async fn vectors_can_be_shortened() {
    let gateway = Gateway::start().await;
    let ask = |dimensions: usize| json!({ "model": "scripted/e", "input": "a b c d e f", "dimensions": dimensions });
    let (_, list) = embed(&gateway, ask(8)).await;
    assert_eq!(list["data"][0]["embedding"].as_array().unwrap().len(), 8);
    let (status, refused) = embed(&gateway, ask(33)).await;
    assert_eq!((status, &refused["error"]["param"]), (400, &json!("dimensions")));
}

#[tokio::test]
async fn inputs_without_text_are_refused() {
    let gateway = Gateway::start().await;
    for (input, message) in [
        (json!(""), "Invalid request: input: must not be empty"),
        (json!([]), "Invalid request: input: Too small: expected array to have >=1 items"),
        (json!(["a", ""]), "Invalid request: input.1: must not be empty"),
        (json!([1, 2]), "Invalid request: input: `scripted/e` takes texts, not token numbers"),
        (Value::Null, "Invalid request: input: Invalid input: expected string, received undefined"),
    ] {
        let seen = embed(&gateway, json!({ "model": "scripted/e", "input": input })).await;
        assert_eq!(seen, (400, error(message, "invalid_request_error", Some("input"))));
    }
    let (status, body) = embed(&gateway, json!({ "input": "x", "encoding_format": "hex" })).await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("model")));
}

#[tokio::test]
async fn without_an_embedder_there_is_none() {
    let gateway = Gateway::with(Setup { has_scripted: false, ..Setup::default() }).await;
    let seen = embed(&gateway, json!({ "model": "anything", "input": "x" })).await;
    assert_eq!(seen, (404, error("No embedding provider configured", "not_found_error", None)));
}

#[tokio::test]
async fn a_provider_of_this_api_gets_every_field_and_its_answer_goes_through() {
    let gateway = Gateway::start().await;
    let reply = r#"{"object":"list","model":"e-1","data":[{"object":"embedding","index":0,"embedding":[0.5,-1.25]}],"usage":{"prompt_tokens":7,"total_tokens":7},"extra":1}"#;
    gateway.upstream.route("/embeddings", Reply::json(200, reply));
    let (status, list) =
        embed(&gateway, json!({ "model": "up/org/e-1", "input": [1, 2, 3], "dimensions": 2, "user": "u" })).await;
    assert_eq!(
        (status, &list["model"], &list["extra"], &list["usage"]["total_tokens"]),
        (200, &json!("up/org/e-1"), &json!(1), &json!(7))
    );
    let sent = gateway.upstream.last_request().unwrap().json();
    assert_eq!(sent, json!({ "model": "org/e-1", "input": [1, 2, 3], "dimensions": 2, "user": "u" }));
    // Servers that do not know base64 send numbers all the same.
    let (_, packed) = embed(&gateway, json!({ "model": "up/e", "input": "x", "encoding_format": "base64" })).await;
    assert_eq!(floats(packed["data"][0]["embedding"].as_str().unwrap()), [0.5, -1.25]);
}

#[tokio::test]
async fn a_refusal_of_the_provider_reaches_the_client() {
    let gateway = Gateway::start().await;
    gateway.upstream.push(
        Reply::json(429, r#"{"error":{"message":"slow down","type":"tokens","param":null,"code":"x"}}"#)
            .header("retry-after", "9"),
    );
    let response = gateway.post("/v1/embeddings", json!({ "model": "up/e", "input": "x" })).await;
    assert_eq!(response.headers()["retry-after"], "9");
    let (status, body) = answer(response).await;
    assert_eq!(
        (status, &body["error"]["message"], &body["error"]["type"]),
        (429, &json!("slow down"), &json!("tokens"))
    );
}
