use futures_util::StreamExt;
use model::NewMessage;
use serde_json::json;

use super::*;

fn asking(text: &str) -> ChatRequest {
    ChatRequest { model: "default".into(), messages: vec![NewMessage::user(text)], ..ChatRequest::default() }
}

async fn read(stream: ChatStream) -> Vec<Result<Chunk, ProviderErrorKind>> {
    stream.map(|item| item.map_err(|error| error.kind)).collect().await
}

#[tokio::test]
async fn answers_come_in_order_and_then_the_last_user_text_is_echoed() {
    let provider = ScriptedProvider::new("scripted").answer("one").answers([
        Scripted::refuse(ProviderErrorKind::RateLimited, "slow down"),
        Scripted::breaks_after("half", ProviderErrorKind::Cut),
        Scripted::tool_calls([("c1", "clock", json!({"zone": "UTC"}))]),
    ]);
    let usage = |output| Ok(Chunk::Usage(Usage { input: 10, output, ..Usage::default() }));

    let first = read(provider.chat(asking("a")).await.unwrap()).await;
    assert_eq!(first, [Ok(Chunk::Text("one".into())), usage(1), Ok(Chunk::Finish(FinishReason::Stop))]);
    let refused = provider.chat(asking("b")).await.err().unwrap();
    assert_eq!(refused.to_string(), "scripted: slow down");
    let broken = read(provider.chat(asking("c")).await.unwrap()).await;
    assert_eq!(broken, [Ok(Chunk::Text("half".into())), Err(ProviderErrorKind::Cut)]);
    let call = read(provider.chat(asking("d")).await.unwrap()).await;
    assert_eq!(
        call,
        [
            Ok(Chunk::ToolCall { index: 0, id: "c1".into(), name: "clock".into() }),
            Ok(Chunk::ToolArguments { index: 0, text: r#"{"zone":"UTC"}"#.into() }),
            usage(2),
            Ok(Chunk::Finish(FinishReason::ToolCalls)),
        ]
    );
    let echo = read(provider.chat(asking("say it")).await.unwrap()).await;
    assert_eq!(echo[..2], [Ok(Chunk::Text("say ".into())), Ok(Chunk::Text("it".into()))]);
    assert_eq!(provider.requests().len(), 5);
    assert_eq!((provider.open_streams(), provider.dropped_streams()), (0, 0));
}

#[tokio::test]
async fn a_held_stream_goes_on_when_its_gate_opens() {
    let gate = Gate::new();
    let provider = ScriptedProvider::new("scripted").answers([Scripted::held(&gate, "late")]);
    let reading = tokio::spawn({
        let provider = provider.clone();
        async move { read(provider.chat(asking("x")).await.unwrap()).await }
    });
    gate.reached().await;
    assert_eq!(provider.open_streams(), 1);
    gate.open();
    assert_eq!(reading.await.unwrap()[0], Ok(Chunk::Text("late".into())));
    assert_eq!((provider.open_streams(), provider.dropped_streams()), (0, 0));
}

#[tokio::test]
async fn dropping_a_held_stream_is_seen() {
    let gate = Gate::new();
    let provider = ScriptedProvider::new("scripted").answers([Scripted::held(&gate, "never")]);
    let reading = tokio::spawn({
        let provider = provider.clone();
        async move { read(provider.chat(asking("x")).await.unwrap()).await }
    });
    gate.reached().await;
    reading.abort();
    provider.wait_for_dropped(1).await;
    assert_eq!((provider.open_streams(), provider.dropped_streams()), (0, 1));
}

#[tokio::test]
async fn texts_that_share_words_have_near_vectors() {
    let provider = ScriptedProvider::new("scripted");
    let inputs = ["the red house".to_owned(), "the red barn".to_owned(), "quantum flux".to_owned()];
    let vectors = provider.embed("default", &inputs).await.unwrap().vectors;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    assert!(dot(&vectors[0], &vectors[1]) > dot(&vectors[0], &vectors[2]));
    assert_eq!(provider.embedded(), inputs);
}
