//! A gateway that speaks this dialect, and its clients.

use std::path::PathBuf;
use std::sync::Arc;

use dialect_aleph::Aleph;
use dialect_aleph::settings::AlephSettings;
use model::Scope;
use serde_json::{Value, json};
use server::settings::DialectName;
use server::{DialectSurface, Words};
use services::{Limits, Services, SessionRules};
use testkit::transcript::{Speaker, Transcript};
use testkit::{GatewayBuilder, TestGateway, WsClient};

/// What a gateway of this dialect is made of; the keys of a transcript's `@settings`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub aleph: AlephSettings,
    pub limits: Limits,
    pub sessions: SessionRules,
    /// Nobody needs a token.
    pub open: bool,
}

impl Settings {
    pub fn builder(self) -> GatewayBuilder {
        let builder = TestGateway::builder().limits(self.limits).rules(self.sessions);
        let (aleph, required) = (Arc::new(self.aleph), !self.open);
        let builder = builder.dialect(move |services| surface(services, &aleph, required));
        if required { builder } else { builder.without_auth() }
    }
}

pub fn surface(services: &Arc<Services>, settings: &Arc<AlephSettings>, auth_required: bool) -> DialectSurface {
    let settings = Arc::clone(settings);
    let aleph =
        Aleph::new(Arc::clone(services), Arc::new(move || Arc::clone(&settings)), Arc::new(move || auth_required));
    DialectSurface {
        name: DialectName::Aleph,
        upgrade: Arc::new(move |socket, peer, _| {
            let response = dialect_aleph::upgrade(&aleph, socket, peer);
            Box::pin(async move { response })
        }),
        words: Words { health: || json!({ "status": "ok" }), ready: |ready| json!({ "ready": ready }) },
        own_routes: None,
    }
}

pub async fn gateway() -> TestGateway {
    Settings::default().builder().start().await
}

/// A gateway from the `@settings` of a transcript.
pub async fn gateway_with(settings: &Value) -> TestGateway {
    let settings = if settings.is_null() { json!({}) } else { settings.clone() };
    let settings: Settings = serde_json::from_value(settings).expect("the settings of a transcript are legal");
    settings.builder().start().await
}

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

pub fn speaker() -> Speaker {
    let greeting = r#"
> {"jsonrpc":"2.0","id":"greeting","method":"connect","params":{"token":"<token>","client_id":"<client>"}}
< {"jsonrpc":"2.0","id":"greeting","result":{"...":"..."}}
"#;
    Speaker {
        dialect: DialectName::Aleph,
        greeting: Transcript::parse("greeting", greeting).expect("the greeting is a transcript"),
    }
}

/// A client that makes one call at a time.
pub struct Client {
    pub ws: WsClient,
    next_id: u64,
}

impl Client {
    pub async fn connect(gateway: &TestGateway, token: &str) -> Self {
        let mut client = Self::open(gateway).await;
        client.call("connect", json!({ "token": token })).await.expect("the token is known");
        client
    }

    pub async fn with(gateway: &TestGateway, scopes: &[Scope]) -> Self {
        Self::connect(gateway, &gateway.token(scopes)).await
    }

    /// Holds every scope.
    pub async fn operator(gateway: &TestGateway) -> Self {
        Self::connect(gateway, gateway.admin()).await
    }

    /// Says nothing yet.
    pub async fn open(gateway: &TestGateway) -> Self {
        Self { ws: gateway.socket(DialectName::Aleph).await, next_id: 0 }
    }

    /// `Err` is the whole error object.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.next_id += 1;
        let id = self.next_id;
        self.ws.send_json(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        let (mut answer, _) = self.ws.until(|frame| frame["id"] == id).await;
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["result"].take()),
        }
    }

    /// The code of the error that a call must come to.
    pub async fn code(&mut self, method: &str, params: Value) -> i64 {
        let error = self.call(method, params).await.expect_err("the call is refused");
        error["code"].as_i64().expect("an error has a code")
    }

    pub async fn subscribe(&mut self, patterns: &[&str]) {
        self.call("events.subscribe", json!({ "patterns": patterns })).await.expect("the patterns are legal");
    }

    /// Topic and data of the next event; answers before it are passed over.
    pub async fn event(&mut self) -> (String, Value) {
        let (mut frame, _) = self.ws.until(|frame| frame["method"] == "event").await;
        let topic = frame["params"]["topic"].as_str().expect("an event has a topic").to_owned();
        (topic, frame["params"]["data"].take())
    }

    /// The topics of all events up to the first of this one.
    pub async fn topics_until(&mut self, last: &str) -> Vec<String> {
        let mut topics = Vec::new();
        loop {
            let (topic, _) = self.event().await;
            topics.push(topic);
            if topics.last().is_some_and(|topic| topic == last) {
                return topics;
            }
        }
    }
}
