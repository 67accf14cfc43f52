//! What every adapter must do, whatever its wire.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use model::{NewMessage, Secret};

use super::fixtures::{Fixture, Recording};
use super::server::{Piece, Reply, ScriptedServer};
use super::{Gate, install_tls};
use crate::build::build;
use crate::chat::{ChatRequest, ChatStream, Chunk};
use crate::error::{ProviderError, ProviderErrorKind};
use crate::provider::Provider;
use crate::settings::ProviderSettings;

const KEY: &str = "test-key-123";
/// A limit that tests run into on purpose: long for a loopback, short for a reader.
const SHORT_MS: u64 = 150;

/// Runs all of it; panics with the name of what failed.
pub async fn run(fixture: &Fixture) {
    install_tls();
    answers_are_read(fixture).await;
    requests_are_addressed(fixture).await;
    any_split_is_read(fixture).await;
    broken_answers_are_reported(fixture).await;
    refusals_are_told_apart(fixture).await;
    silence_is_limited(fixture).await;
    dropping_closes_the_connection(fixture).await;
    connections_are_used_again(fixture).await;
    models_are_listed(fixture).await;
    inputs_are_embedded(fixture).await;
}

struct Bench {
    server: ScriptedServer,
    provider: Arc<dyn Provider>,
    model: &'static str,
}

impl Bench {
    async fn new(fixture: &Fixture) -> Self {
        Self::with(fixture, |_| {}).await
    }

    async fn with(fixture: &Fixture, change: impl FnOnce(&mut ProviderSettings)) -> Self {
        let server = ScriptedServer::start().await;
        let mut settings = ProviderSettings {
            base_url: Some(server.base_url().to_owned()),
            api_key: Some(Secret::new(KEY)),
            ..ProviderSettings::new(fixture.kind)
        };
        change(&mut settings);
        assert_eq!(settings.validate(), []);
        let provider = build("vendor", &settings).expect("the settings are right");
        Self { server, provider, model: fixture.model }
    }

    async fn chat(&self) -> Result<ChatStream, ProviderError> {
        let messages = vec![NewMessage::system("Be brief."), NewMessage::user("Hi")];
        self.provider.chat(ChatRequest { model: self.model.to_owned(), messages, ..ChatRequest::default() }).await
    }

    /// The chunks of one answer and the error that ended it, if one did.
    async fn answer(&self, reply: Reply) -> (Vec<Chunk>, Option<ProviderError>) {
        self.server.push(reply);
        match self.chat().await {
            Ok(stream) => read(stream).await,
            Err(error) => (Vec::new(), Some(error)),
        }
    }

    async fn failure(&self, reply: Reply) -> ProviderError {
        self.answer(reply).await.1.expect("the answer fails")
    }
}

async fn read(mut stream: ChatStream) -> (Vec<Chunk>, Option<ProviderError>) {
    let mut chunks = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => {
                assert!(stream.next().await.is_none(), "nothing follows an error");
                return (chunks, Some(error));
            }
        }
    }
    (chunks, None)
}

/// Neighbouring chunks of one kind as one, arguments as compact JSON, made ids as `call-INDEX`.
fn joined(chunks: Vec<Chunk>, gives_call_ids: bool) -> Vec<Chunk> {
    let mut out: Vec<Chunk> = Vec::new();
    let mut made_ids = Vec::new();
    for chunk in chunks {
        match (out.last_mut(), chunk) {
            (Some(Chunk::Text(text)), Chunk::Text(more)) | (Some(Chunk::Reasoning(text)), Chunk::Reasoning(more)) => {
                text.push_str(&more);
            }
            (Some(Chunk::ToolArguments { index, text }), Chunk::ToolArguments { index: same, text: more })
                if *index == same =>
            {
                text.push_str(&more);
            }
            (_, Chunk::ToolCall { index, id, name }) if !gives_call_ids => {
                assert!(!id.is_empty() && !made_ids.contains(&id), "`{id}` is an id of its own");
                made_ids.push(id);
                out.push(Chunk::ToolCall { index, id: format!("call-{index}"), name });
            }
            (_, Chunk::ReasoningBlock(mut block)) if !gives_call_ids => {
                let index = made_ids.iter().position(|id| block.get("call").is_some_and(|call| call == id));
                if let Some(index) = index {
                    block["call"] = format!("call-{index}").into();
                }
                out.push(Chunk::ReasoningBlock(block));
            }
            (_, chunk) => out.push(chunk),
        }
    }
    for chunk in &mut out {
        if let Chunk::ToolArguments { text, .. } = chunk
            && let Ok(arguments) = serde_json::from_str::<serde_json::Value>(text)
        {
            *text = arguments.to_string();
        }
    }
    out
}

fn recordings(fixture: &Fixture) -> [(&'static str, &Recording); 5] {
    [
        ("text", &fixture.text),
        ("tools", &fixture.tools),
        ("reasoning", &fixture.reasoning),
        ("empty", &fixture.empty),
        ("length", &fixture.length),
    ]
}

async fn expect_answer(bench: &Bench, fixture: &Fixture, reply: Reply, recording: &Recording, what: &str) {
    let (chunks, error) = bench.answer(reply).await;
    assert!(error.is_none(), "{what}: {error:?}");
    assert_eq!(joined(chunks, fixture.gives_call_ids), recording.chunks, "{what}");
}

async fn answers_are_read(fixture: &Fixture) {
    let bench = Bench::new(fixture).await;
    for (name, recording) in recordings(fixture) {
        expect_answer(&bench, fixture, fixture.stream(recording.body), recording, name).await;
        let crlf = recording.body.replace('\n', "\r\n");
        expect_answer(&bench, fixture, fixture.stream(crlf), recording, &format!("{name} with CRLF")).await;
    }
    // Some servers leave out the end of the last event.
    let unterminated = fixture.text.body.trim_end();
    expect_answer(&bench, fixture, fixture.stream(unterminated), &fixture.text, "an unterminated end").await;
}

async fn requests_are_addressed(fixture: &Fixture) {
    let bench = Bench::with(fixture, |settings| {
        settings.headers.insert("X-Team".into(), Secret::new("blue"));
    })
    .await;
    bench.answer(fixture.stream(fixture.text.body)).await;
    let seen = bench.server.last_request().expect("a request came");
    let (key_header, key) = fixture.key_header;
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", fixture.chat_target));
    assert_eq!(seen.header(key_header), Some(key));
    assert_eq!(seen.header("x-team"), Some("blue"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert!(!seen.target.contains(KEY), "the key is not in the URL");
    assert!(seen.json().is_object());
    assert_eq!(bench.provider.name(), "vendor");
    assert_eq!(bench.provider.kind(), fixture.kind.as_str());
}

async fn any_split_is_read(fixture: &Fixture) {
    let bench = Bench::new(fixture).await;
    for bytes in [1, 2, 3, 7, 64] {
        for (name, recording) in recordings(fixture) {
            let reply = fixture.stream(recording.body).in_pieces_of(bytes);
            expect_answer(&bench, fixture, reply, recording, &format!("{name} in pieces of {bytes}")).await;
        }
    }
}

async fn broken_answers_are_reported(fixture: &Fixture) {
    let bench = Bench::new(fixture).await;
    let half = vec![Chunk::Text("Half an answer".into())];
    let unfinished = || fixture.stream(fixture.unfinished);
    let in_event = fixture.text.body[..fixture.text.body.len() / 2].to_owned();
    let cases = [
        ("no finish reason", unfinished(), ProviderErrorKind::Cut),
        ("cut between events", unfinished().then(Piece::Cut), ProviderErrorKind::Cut),
        (
            "cut inside an event",
            unfinished().then(Piece::Bytes(in_event.into_bytes())).then(Piece::Cut),
            ProviderErrorKind::Cut,
        ),
        ("garbage", unfinished().then(Piece::Bytes(fixture.garbage.into())), ProviderErrorKind::Malformed),
        ("an error inside", fixture.stream(fixture.error), ProviderErrorKind::Overloaded),
    ];
    for (name, reply, kind) in cases {
        let (chunks, error) = bench.answer(reply).await;
        let error = error.unwrap_or_else(|| panic!("{name}: no error"));
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert_eq!(error.provider, "vendor", "{name}");
        let mut chunks = joined(chunks, true);
        // The half that came before an event that was cut may be more than the half of `unfinished`.
        chunks.truncate(1);
        match (&chunks[..], name) {
            ([Chunk::Text(text)], "cut inside an event") => assert!(text.starts_with("Half an answer"), "{text}"),
            (chunks, _) => assert_eq!(chunks, half, "{name}"),
        }
    }
    let (chunks, error) = bench.answer(fixture.stream("")).await;
    assert_eq!((chunks, error.map(|error| error.kind)), (vec![], Some(ProviderErrorKind::Cut)), "an empty body");
    let page = bench.failure(Reply::new(200, "text/html", "<html></html>")).await;
    assert_eq!(page.kind, ProviderErrorKind::Malformed, "a web page");
}

async fn refusals_are_told_apart(fixture: &Fixture) {
    use ProviderErrorKind::*;
    let bench = Bench::new(fixture).await;
    let body = format!(r#"{{"error":{{"message":"no, {KEY} will not do"}}}}"#);
    let cases = [
        (400, BadRequest),
        (401, Auth),
        (403, Auth),
        (404, ModelNotFound),
        (408, Timeout),
        (422, BadRequest),
        (429, RateLimited),
        (500, Overloaded),
        (503, Overloaded),
    ];
    for (status, kind) in cases {
        let error = bench.failure(Reply::json(status, body.as_str()).header("retry-after", "7")).await;
        assert_eq!((error.kind, error.status), (kind, Some(status)));
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(error.message, "no, [REDACTED] will not do");
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    }
    let dated = Reply::json(429, "{}")
        .header("date", "Sun, 06 Nov 1994 08:49:37 GMT")
        .header("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT");
    assert_eq!(bench.failure(dated).await.retry_after, Some(Duration::from_secs(30)));
    let (status, body) = fixture.too_long;
    let error = bench.failure(Reply::json(status, body)).await;
    assert_eq!((error.kind, error.body.as_deref()), (ContextTooLong, Some(body)));
    let moved = bench.failure(Reply::json(307, "").header("location", "http://127.0.0.1:9/")).await;
    assert_eq!((moved.kind, moved.status), (BadRequest, Some(307)));
}

async fn silence_is_limited(fixture: &Fixture) {
    let bench = Bench::with(fixture, |settings| settings.first_byte_timeout_ms = SHORT_MS).await;
    assert_eq!(bench.failure(Reply::silence()).await.kind, ProviderErrorKind::Timeout, "no head");
    let no_body = bench.answer(fixture.stream("").then(Piece::Hang)).await;
    assert_eq!(no_body.1.map(|error| error.kind), Some(ProviderErrorKind::Timeout), "no first byte");
    bench.server.wait_for_aborted(2).await;

    let bench = Bench::with(fixture, |settings| settings.silence_timeout_ms = SHORT_MS).await;
    let (chunks, error) = bench.answer(fixture.stream(fixture.unfinished).then(Piece::Hang)).await;
    assert_eq!(joined(chunks, true), [Chunk::Text("Half an answer".into())]);
    assert_eq!(error.map(|error| error.kind), Some(ProviderErrorKind::Timeout), "silence inside");
    bench.server.wait_for_aborted(1).await;

    let nowhere = ScriptedServer::nowhere().await;
    let bench = Bench::with(fixture, |settings| settings.base_url = Some(nowhere)).await;
    let error = bench.chat().await.err().expect("nobody listens there");
    assert_eq!(error.kind, ProviderErrorKind::Unreachable, "{error}");
}

async fn dropping_closes_the_connection(fixture: &Fixture) {
    let bench = Bench::new(fixture).await;
    let gate = Gate::new();
    bench.server.push(fixture.stream(fixture.unfinished).then(Piece::Wait(gate.clone())));
    let mut stream = bench.chat().await.expect("the request is accepted");
    assert!(matches!(stream.next().await, Some(Ok(_))), "the answer has begun");
    gate.reached().await;
    drop(stream);
    bench.server.wait_for_aborted(1).await;

    // And before anything has come.
    bench.server.push(Reply::silence());
    {
        let waiting = bench.chat();
        tokio::pin!(waiting);
        tokio::select! {
            _ = &mut waiting => panic!("a silent server does not answer"),
            () = bench.server.wait_for_requests(2) => {}
        }
    }
    bench.server.wait_for_aborted(2).await;
    bench.server.wait_for_no_connection().await;
}

async fn connections_are_used_again(fixture: &Fixture) {
    let bench = Bench::new(fixture).await;
    for _ in 0..3 {
        expect_answer(&bench, fixture, fixture.stream(fixture.text.body), &fixture.text, "one after the other").await;
    }
    assert_eq!(bench.server.accepted_connections(), 1);
}

async fn models_are_listed(fixture: &Fixture) {
    let bench = Bench::with(fixture, |settings| settings.models = vec!["mine".into()]).await;
    for (path, body) in fixture.model_routes {
        bench.server.route(path, Reply::json(200, *body));
    }
    let models = bench.provider.models().await.expect("the list is good");
    let found: Vec<_> =
        models.iter().map(|model| (model.id.as_str(), model.context_window, model.capabilities.words())).collect();
    let mut expected = vec![("mine", None, vec!["chat", "tools", "streaming"])];
    expected.extend(fixture.models.clone());
    assert_eq!(found, expected);
    // What the vendor said is remembered.
    let (id, window, _) = &fixture.models[0];
    assert_eq!(bench.provider.describe(id).context_window, *window);

    bench.server.route(fixture.model_routes[0].0, Reply::json(503, "{}"));
    assert_eq!(bench.provider.models().await.map_err(|error| error.kind), Err(ProviderErrorKind::Overloaded));
    assert_eq!(bench.provider.configured_models().len(), 1);

    let quiet = Bench::with(fixture, |settings| {
        settings.models = vec!["mine".into()];
        settings.discover = false;
    })
    .await;
    assert_eq!(quiet.provider.models().await.expect("nobody is asked").len(), 1);
    assert_eq!(quiet.server.requests().len(), 0);
}

async fn inputs_are_embedded(fixture: &Fixture) {
    let bench = Bench::new(fixture).await;
    let inputs = ["one".to_owned(), "two".to_owned()];
    let Some((path, body)) = fixture.embeddings else {
        let error = bench.provider.embed("embedder", &inputs).await.expect_err("this wire has no embeddings");
        assert_eq!(error.kind, ProviderErrorKind::Unsupported);
        return;
    };
    bench.server.route(path, Reply::json(200, body));
    let embeddings = bench.provider.embed("embedder", &inputs).await.expect("the answer is good");
    assert_eq!(embeddings.vectors, [[1.0, 0.5], [0.0, 1.0]]);
    assert_eq!(embeddings.model, "embedder");
    let error = bench.provider.embed("embedder", &inputs[..1]).await.expect_err("two vectors for one input");
    assert_eq!(error.kind, ProviderErrorKind::Malformed);
    let nothing = bench.provider.embed("embedder", &[]).await.expect("nothing to do");
    assert_eq!(nothing.vectors.len(), 0);
}
