//! Answers that are being given when the process is replaced.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::post;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::sync::Notify;

use crate::clients::{Caller, Http};
use crate::support::Home;
use crate::wire::Talk;

/// A model that says one half, and the other when it is let go on.
async fn home_with_slow_model() -> (Home, Arc<Notify>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let goes_on = Arc::new(Notify::new());
    let waits = Arc::clone(&goes_on);
    let answer = move || {
        let waits = Arc::clone(&waits);
        async move {
            let chunk = |text: &str| {
                let delta = json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] });
                Ok::<_, Infallible>(Bytes::from(format!("data: {delta}\n\n")))
            };
            let rest = chunk("second half");
            let rest = stream::once(async move {
                waits.notified().await;
                rest
            });
            let end = stream::iter([Ok(Bytes::from("data: [DONE]\n\n"))]);
            let body = Body::from_stream(stream::iter([chunk("first half")]).chain(rest).chain(end));
            Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
        }
    };
    let app = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let config = format!(
        "[providers.up]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:{port}/v1\"\nmodels = [\"m\"]\ndiscover = false\n"
    );
    (Home::with(&config), goes_on)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_runs_may_end_before_the_process_lets_go() {
    // The first call wins; no TLS is spoken here, but the client wants to know how.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (home, goes_on) = home_with_slow_model().await;
    let server = home.serve();
    let address = server.address("comis");
    let body = json!({ "model": "up/m", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let response = reqwest::Client::new()
        .post(format!("http://{address}/v1/chat/completions"))
        .bearer_auth(home.token())
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let mut pieces = response.bytes_stream();
    let mut text = String::from_utf8(pieces.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(text.contains("first half"), "{text}");

    let mut talk = Talk::connect(&home.socket());
    talk.say(&json!({ "type": "hello", "version": "9.9.9", "pid": 1, "timeout_ms": 60_000, "drain_ms": 60_000 }));
    assert_eq!(talk.hear().unwrap()["type"], json!("offer"));
    talk.say(&json!({ "type": "prepared" }));
    // Connections are told to end, or wait already: the process is on its way out, and the stream goes on.
    loop {
        let mut client = Http::new(&address);
        match tokio::time::timeout(Duration::from_secs(5), client.get("/health")).await {
            Ok((_, answer)) if !answer.contains("connection: close") => {}
            Ok(_) | Err(_) => break,
        }
    }
    goes_on.notify_one();
    while let Some(piece) = pieces.next().await {
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
    }
    assert!(text.contains("second half") && text.trim_end().ends_with("data: [DONE]"), "{text}");
    assert_eq!(talk.hear(), Some(json!({ "type": "released" })));
    talk.say(&json!({ "type": "failed", "reason": "a test has seen enough" }));
    Caller::new(&server.address("aleph"), &home.token()).call("health", json!({})).await;
    server.stop();
}
