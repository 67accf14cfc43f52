//! What only the OpenAI wire does: passing bytes through, and bearing with its many imitations.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use model::NewMessage;
use providers::testkit::{Gate, Piece, Reply, ScriptedServer, install_tls};
use providers::{
    ChatRequest, Chunk, FinishReason, Provider, ProviderErrorKind, ProviderKind, ProviderSettings, build, ollama_is_up,
};

async fn vendor() -> (ScriptedServer, Arc<dyn Provider>) {
    install_tls();
    let server = ScriptedServer::start().await;
    let base_url = Some(server.base_url().to_owned());
    let provider = build("vendor", &ProviderSettings { base_url, ..ProviderSettings::new(ProviderKind::Openai) });
    (server, provider.expect("the settings are right"))
}

async fn answer(reply: Reply) -> Vec<Result<Chunk, ProviderErrorKind>> {
    let (server, provider) = vendor().await;
    server.push(reply);
    let request = ChatRequest { model: "m".into(), messages: vec![NewMessage::user("Hi")], ..ChatRequest::default() };
    match provider.chat(request).await {
        Ok(stream) => stream.map(|item| item.map_err(|error| error.kind)).collect().await,
        Err(error) => vec![Err(error.kind)],
    }
}

#[tokio::test]
async fn a_forwarded_answer_comes_byte_for_byte() {
    let (server, provider) = vendor().await;
    let stream = "data: {\"anything\": 1}\r\n\r\n: x\n\ndata: [DONE]\n\n";
    server.push(Reply::sse(stream).in_pieces_of(5));
    let sent = Bytes::from_static(b"{ \"model\":\"x\" , \"odd\" : 1 }");
    let forwarded = provider.forward("/chat/completions", sent.clone()).await.unwrap();
    assert_eq!((forwarded.status, forwarded.content_type.as_deref()), (200, Some("text/event-stream; charset=utf-8")));
    let body: Vec<Bytes> = forwarded.body.try_collect().await.unwrap();
    assert_eq!(body.concat(), stream.as_bytes());
    let seen = server.last_request().unwrap();
    assert_eq!((seen.target.as_str(), seen.body.as_slice()), ("/chat/completions", &*sent));
}

#[tokio::test]
async fn a_forwarded_refusal_keeps_its_status_and_wait() {
    let (server, provider) = vendor().await;
    server.push(Reply::json(429, r#"{"error":{"message":"slow"}}"#).header("retry-after", "12"));
    let forwarded = provider.forward("/embeddings", Bytes::new()).await.unwrap();
    assert_eq!((forwarded.status, forwarded.retry_after.as_deref()), (429, Some("12")));
    let body: Vec<Bytes> = forwarded.body.try_collect().await.unwrap();
    assert_eq!(body.concat(), br#"{"error":{"message":"slow"}}"#);
    assert!(provider.forwards_openai());
}

#[tokio::test]
async fn dropping_a_forwarded_body_closes_the_connection() {
    let (server, provider) = vendor().await;
    let gate = Gate::new();
    server.push(Reply::sse("data: 1\n\n").then(Piece::Wait(gate.clone())));
    let mut forwarded = provider.forward("/chat/completions", Bytes::new()).await.unwrap();
    assert!(forwarded.body.next().await.unwrap().is_ok());
    gate.reached().await;
    drop(forwarded);
    server.wait_for_aborted(1).await;
}

#[tokio::test]
async fn a_forwarded_answer_that_breaks_is_an_error() {
    let (server, provider) = vendor().await;
    server.push(Reply::sse("data: 1\n\n").then(Piece::Cut));
    let forwarded = provider.forward("/chat/completions", Bytes::new()).await.unwrap();
    let error = forwarded.body.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::Cut);
}

#[tokio::test]
async fn done_after_content_ends_an_answer_without_a_finish_reason() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n";
    assert_eq!(answer(Reply::sse(body)).await, [Ok(Chunk::Text("Hi".into())), Ok(Chunk::Finish(FinishReason::Stop))]);
    assert_eq!(answer(Reply::sse("data: [DONE]\n\n")).await, [Err(ProviderErrorKind::Cut)]);
}

#[tokio::test]
async fn an_answer_in_one_document_is_read_too() {
    let body = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let usage = model::Usage { input: 1, output: 2, ..model::Usage::default() };
    assert_eq!(
        answer(Reply::json(200, body)).await,
        [Ok(Chunk::Text("Hi".into())), Ok(Chunk::Usage(usage)), Ok(Chunk::Finish(FinishReason::Stop))]
    );
    assert_eq!(answer(Reply::json(200, r#"{"error":"boom"}"#)).await, [Err(ProviderErrorKind::Overloaded)]);
    // And a stream under the name of a document.
    let stream = "\n: hello\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n";
    let expected = [Ok(Chunk::Text("Hi".into())), Ok(Chunk::Finish(FinishReason::Stop))];
    assert_eq!(answer(Reply::json(200, stream).in_pieces_of(1)).await, expected);
}

#[tokio::test]
async fn calls_that_end_with_stop_are_calls() {
    let body = concat!(
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"clock\",\"arguments\":{\"zone\":1}}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    );
    let chunks = answer(Reply::sse(body)).await;
    assert!(
        matches!(&chunks[0], Ok(Chunk::ToolCall { index: 0, id, name }) if id.starts_with("call_") && name == "clock")
    );
    assert_eq!(
        chunks[1..],
        [
            Ok(Chunk::ToolArguments { index: 0, text: "{\"zone\":1}".into() }),
            Ok(Chunk::Finish(FinishReason::ToolCalls))
        ]
    );
}

#[tokio::test]
async fn content_in_parts_is_read() {
    let body = concat!(
        "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"Hm\"}]}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]},\"finish_reason\":\"stop\"}]}\n\n",
    );
    let expected =
        [Ok(Chunk::Reasoning("Hm".into())), Ok(Chunk::Text("Hi".into())), Ok(Chunk::Finish(FinishReason::Stop))];
    assert_eq!(answer(Reply::sse(body)).await, expected);
}

#[tokio::test]
async fn a_probe_tells_an_ollama_from_silence() {
    install_tls();
    let server = ScriptedServer::start().await;
    server.push(Reply::json(200, r#"{"version":"0.9.0"}"#));
    assert!(ollama_is_up(server.base_url()).await);
    server.push(Reply::json(404, "{}"));
    assert!(!ollama_is_up(server.base_url()).await);
    server.push(Reply::silence());
    assert!(!ollama_is_up(server.base_url()).await);
    assert!(!ollama_is_up(&ScriptedServer::nowhere().await).await);
}
