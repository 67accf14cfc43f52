//! A gateway with nothing but these routes, and a client of it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use dialect::http::{Gate, HttpRules};
use dialect_openai::{OpenAi, OpenAiSettings, UnknownModel};
use futures_util::StreamExt;
use model::{
    Agent, AgentId, AgentIdentity, Clock, FixedClock, Ids, ModelRef, OpError, Scope, ScopeSet, Secret, SystemClock,
    Thinking, Timestamp,
};
use providers::testkit::{ScriptedProvider, ScriptedServer, install_tls};
use providers::{Provider, ProviderKind, ProviderSettings, Registry, RetryPolicy, Router as ModelRouter};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use services::settings::{ConfigCheck, ConfigReload};
use services::tokens::ConfiguredToken;
use services::{GatewayConfig, GatewayInfo, Limits, Models, Parts, Services, SessionRules};
use store::Store;
use store_sqlite::{SqliteOptions, SqliteStore};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const TOKEN: &str = "token-of-the-tests-with-all-it-needs";
pub const NOW_MS: i64 = 1_790_000_000_000;

/// What a test sets before it starts a gateway.
pub struct Setup {
    pub unknown_model: UnknownModel,
    pub body_bytes_max: usize,
    pub rate_max_requests: u64,
    pub tokens: Vec<(&'static str, ScopeSet, Vec<&'static str>)>,
    pub limits: Limits,
    /// Providers beside `scripted` and `up`.
    pub more: Vec<Arc<dyn Provider>>,
    pub embedder: Option<ModelRef>,
    pub has_scripted: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            unknown_model: UnknownModel::Default,
            body_bytes_max: 1 << 20,
            rate_max_requests: 1_000_000,
            tokens: vec![(TOKEN, rpc(), Vec::new())],
            limits: Limits::default(),
            more: Vec::new(),
            embedder: None,
            has_scripted: true,
        }
    }
}

pub fn rpc() -> ScopeSet {
    [Scope::Read, Scope::Write].into_iter().collect()
}

/// Agents: `main` with `scripted/default`, `second` with `up/vendor-model`, `off`, which is disabled.
/// Providers: `scripted`, and `up`, which speaks the OpenAI API itself at a scripted server.
pub struct Gateway {
    pub services: Arc<Services>,
    pub scripted: ScriptedProvider,
    pub upstream: ScriptedServer,
    address: SocketAddr,
    client: reqwest::Client,
    server: JoinHandle<()>,
    _home: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Gateway {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        install_tls();
        let home = tempfile::tempdir().expect("a temporary folder");
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::at(NOW_MS));
        let ids = Arc::new(Ids::system(Arc::clone(&clock)));
        let store = SqliteStore::open(home.path().join("test.db"), SqliteOptions::default()).expect("a database");
        let store: Arc<dyn Store> = Arc::new(store);
        let scripted = ScriptedProvider::new("scripted");
        let upstream = ScriptedServer::start().await;
        let registry = Arc::new(Registry::new(Arc::clone(&clock)));
        let mut providers: Vec<Arc<dyn Provider>> = vec![openai("up", upstream.base_url())];
        if setup.has_scripted {
            providers.push(Arc::new(scripted.clone()));
        }
        providers.extend(setup.more);
        registry.replace(providers, setup.embedder);
        let policy = RetryPolicy { attempts_max: 1, ..RetryPolicy::default() };
        let router = Arc::new(ModelRouter::new(Arc::clone(&registry), Arc::clone(&clock), policy, 1));
        let services = Services::start(Parts {
            info: info(home.path().to_owned()),
            clock,
            ids,
            store,
            agents: vec![
                agent("main", "scripted/default"),
                agent("second", "up/vendor-model"),
                Agent { enabled: false, ..agent("off", "scripted/x") },
            ],
            models: Models::new(registry, router, None),
            tools: Arc::new(tools::Registry::built_in()),
            rules: SessionRules::default(),
            limits: setup.limits,
            config: Arc::new(NoConfig),
            node: services::NodeOptions::new("test"),
        })
        .await
        .expect("services start");
        let tokens = setup.tokens.into_iter().enumerate().map(|(index, (secret, scopes, words))| ConfiguredToken {
            id: format!("t{index}"),
            secret: Secret::new(secret),
            scopes,
            role: "operator".into(),
            words: words.into_iter().map(str::to_owned).collect(),
        });
        services.tokens.set_configured(tokens.collect());
        let rules = Arc::new(Rules { requests: setup.rate_max_requests, body: setup.body_bytes_max });
        let gate =
            Arc::new(Gate::new(Arc::clone(&services), move || Arc::clone(&rules) as Arc<dyn HttpRules>, |_, _| false));
        let unknown_model = setup.unknown_model;
        let openai = OpenAi::new(Arc::clone(&services), Arc::new(move || OpenAiSettings { unknown_model }), gate);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let routes = openai.routes();
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.expect("the server runs") });
        Self { services, scripted, upstream, address, client: reqwest::Client::new(), server, _home: home }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address)).bearer_auth(TOKEN)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path).send().await.expect("an answer")).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Response {
        self.post_text(path, body.to_string()).await
    }

    pub async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> Response {
        self.request(Method::POST, path).body(body).send().await.expect("an answer")
    }

    pub async fn chat(&self, body: Value) -> (u16, Value) {
        answer(self.post("/v1/chat/completions", body).await).await
    }

    pub async fn respond(&self, body: Value) -> (u16, Value) {
        answer(self.post("/v1/responses", body).await).await
    }

    pub async fn stream(&self, body: Value) -> Stream {
        self.stream_of("/v1/chat/completions", body).await
    }

    pub async fn stream_of(&self, path: &str, body: Value) -> Stream {
        let response = self.post(path, body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Stream { body: response.bytes_stream().boxed(), buffer: String::new() }
    }

    /// Returns once no run is unfinished.
    pub async fn idle(&self) {
        self.services.runs.idle().await;
    }
}

pub async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// An error of family B.
pub fn error(message: &str, kind: &str, param: Option<&str>) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": param, "code": null } })
}

/// A stream as its client reads it.
pub struct Stream {
    body: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: String,
}

impl Stream {
    /// The next event's data; comments are passed over. `None` at the end.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                // A name before it says what its type says.
                let (name, data) = event.split_once('\n').unwrap_or(("", &event));
                let Some(data) = data.strip_prefix("data: ") else { continue };
                if let Some(name) = name.strip_prefix("event: ") {
                    assert!(data.starts_with(&format!("{{\"type\":\"{name}\",")), "{event}");
                }
                return Some(data.to_owned());
            }
            let piece = self.body.next().await?.expect("the stream is not cut");
            self.buffer.push_str(std::str::from_utf8(&piece).expect("scripted texts are ASCII"));
        }
    }

    pub async fn next_chunk(&mut self) -> Value {
        serde_json::from_str(&self.next().await.expect("another event")).expect("JSON")
    }

    /// All that is left, `[DONE]` as a string.
    pub async fn rest(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(data) = self.next().await {
            all.push(if data == "[DONE]" { json!("[DONE]") } else { serde_json::from_str(&data).expect("JSON") });
        }
        assert_eq!(self.buffer, "", "nothing half follows");
        all
    }
}

/// The content of all chunks of one choice.
pub fn text_of(chunks: &[Value], index: u64) -> String {
    let choices = chunks.iter().filter_map(|chunk| chunk["choices"].as_array()).flatten();
    choices.filter(|choice| choice["index"] == index).filter_map(|choice| choice["delta"]["content"].as_str()).collect()
}

pub fn hi(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] })
}

pub fn hi_stream(model: &str) -> Value {
    with(hi(model), json!({ "stream": true }))
}

pub fn with(mut body: Value, fields: Value) -> Value {
    for (key, value) in fields.as_object().expect("fields") {
        body[key] = value.clone();
    }
    body
}

pub fn openai(name: &str, base_url: &str) -> Arc<dyn Provider> {
    provider(name, ProviderKind::Openai, base_url)
}

pub fn provider(name: &str, kind: ProviderKind, base_url: &str) -> Arc<dyn Provider> {
    install_tls();
    let settings = ProviderSettings {
        base_url: Some(base_url.to_owned()),
        api_key: Some(Secret::new("sk-upstream-secret")),
        discover: false,
        models: vec!["vendor-model".into()],
        ..ProviderSettings::new(kind)
    };
    providers::build(name, &settings).expect("a provider")
}

fn agent(id: &str, model: &str) -> Agent {
    Agent {
        id: AgentId::parse(id).expect("an id"),
        name: id.to_owned(),
        description: String::new(),
        model: Some(model.parse().expect("a model")),
        fallbacks: Vec::new(),
        system_prompt: Some("You are a test.".into()),
        thinking: Thinking::Off,
        workspace: PathBuf::from("/nonexistent"),
        tools: None,
        enabled: true,
        identity: AgentIdentity::default(),
    }
}

fn info(home: PathBuf) -> GatewayInfo {
    GatewayInfo {
        version: "0.0.0",
        build: "test",
        started_at: SystemClock.now(),
        instance_id: "test".into(),
        host: "localhost".into(),
        home,
        pid: 1,
    }
}

struct Rules {
    requests: u64,
    body: usize,
}

impl HttpRules for Rules {
    fn rate_window_ms(&self) -> u64 {
        60_000
    }

    fn rate_max_requests(&self) -> u64 {
        self.requests
    }

    fn body_bytes_max(&self) -> usize {
        self.body
    }

    fn origins(&self) -> &[String] {
        &[]
    }

    fn trusted_proxies(&self) -> &[IpAddr] {
        &[]
    }
}

struct NoConfig;

#[async_trait]
impl GatewayConfig for NoConfig {
    fn effective(&self) -> Value {
        json!({})
    }

    fn source(&self) -> String {
        "defaults".into()
    }

    fn loaded_at(&self) -> Timestamp {
        Timestamp::from_ms(0)
    }

    fn schema(&self) -> Value {
        json!({})
    }

    fn check(&self, _: &Value) -> ConfigCheck {
        ConfigCheck { errors: Vec::new(), warnings: Vec::new() }
    }

    async fn reload(&self) -> Result<ConfigReload, OpError> {
        Err(OpError::unavailable("there is no file"))
    }
}
