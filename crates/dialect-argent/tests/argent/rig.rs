//! A gateway that speaks this dialect, and its clients.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use dialect_argent::{Argent, ArgentSettings};
use model::Scope;
use providers::FinishReason;
use providers::testkit::{Gate, Scripted};
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
    pub argent: ArgentSettings,
    pub limits: Limits,
    pub sessions: SessionRules,
    /// Nobody needs a token.
    pub open: bool,
}

/// The instance of the dialect behind a gateway, for tests that walk its table.
pub type Instance = Arc<RwLock<Option<Arc<Argent>>>>;

impl Settings {
    pub fn builder(self) -> GatewayBuilder {
        self.builder_with(&Instance::default())
    }

    pub fn builder_with(self, instance: &Instance) -> GatewayBuilder {
        let builder = TestGateway::builder().limits(self.limits).rules(self.sessions);
        let (argent, required, instance) = (Arc::new(self.argent), !self.open, Arc::clone(instance));
        let builder = builder.dialect(move |services| surface(services, &argent, required, &instance));
        if required { builder } else { builder.without_auth() }
    }
}

fn surface(
    services: &Arc<Services>,
    settings: &Arc<ArgentSettings>,
    auth_required: bool,
    instance: &Instance,
) -> DialectSurface {
    let settings = Arc::clone(settings);
    let argent =
        Argent::new(Arc::clone(services), Arc::new(move || Arc::clone(&settings)), Arc::new(move || auth_required));
    *instance.write().unwrap() = Some(Arc::clone(&argent));
    DialectSurface {
        name: DialectName::Argent,
        upgrade: Arc::new(move |socket, peer, _| {
            let response = dialect_argent::upgrade(&argent, socket, &peer);
            Box::pin(async move { response })
        }),
        words: Words { health: || json!({ "ok": true, "status": "live" }), ready: |ready| json!({ "ready": ready }) },
        own_routes: None,
    }
}

pub async fn gateway() -> TestGateway {
    warmed(Settings::default().builder().start().await).await
}

/// A gateway from the `@settings` of a transcript.
pub async fn gateway_with(settings: &Value) -> TestGateway {
    let settings = if settings.is_null() { json!({}) } else { settings.clone() };
    let settings: Settings = serde_json::from_value(settings).expect("the settings of a transcript are legal");
    warmed(settings.builder().start().await).await
}

/// Builds the health snapshot, so that no `health` event comes into what a test looks at while its
/// clock stands still.
pub async fn warmed(gateway: TestGateway) -> TestGateway {
    let mut client = Client::operator(&gateway).await;
    client.call("health", json!({})).await.expect("the gateway is healthy");
    client.event("health").await;
    client.ws.close().await;
    gateway
}

/// An answer that stops in the middle until the gate opens.
pub fn held(before: &str, gate: &Gate, after: &str) -> Scripted {
    let answer = Scripted::Stream(Vec::new()).then_text(before).then_wait(gate);
    let answer = if after.is_empty() { answer } else { answer.then_text(after) };
    answer.then_finish(FinishReason::Stop)
}

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

pub fn speaker() -> Speaker {
    let greeting = r#"
< {"type":"event","event":"connect.challenge","payload":{"nonce":"<string>","ts":"<int>"}}
> {"type":"req","id":"greeting","method":"connect","params":{"minProtocol":3,"maxProtocol":4,"client":{"id":"test","version":"1.0.0","platform":"linux","mode":"cli"},"auth":{"token":"<token>"}}}
< {"type":"res","id":"greeting","ok":true,"payload":{"type":"hello-ok","protocol":4,"...":"..."}}
"#;
    Speaker {
        dialect: DialectName::Argent,
        greeting: Transcript::parse("greeting", greeting).expect("the greeting is a transcript"),
    }
}

/// What a native client says first.
pub fn hello(token: &str) -> Value {
    json!({
        "minProtocol": 3,
        "maxProtocol": 4,
        "client": { "id": "test", "version": "1.0.0", "platform": "linux", "mode": "cli" },
        "auth": { "token": token },
    })
}

/// A client of the native form that makes one call at a time and keeps the events in between.
pub struct Client {
    pub ws: WsClient,
    pub events: Vec<Value>,
    pub hello: Value,
    pub nonce: String,
    next_id: u64,
}

impl Client {
    pub async fn operator(gateway: &TestGateway) -> Self {
        Self::connect(gateway, hello(gateway.admin())).await
    }

    pub async fn with(gateway: &TestGateway, scopes: &[Scope]) -> Self {
        Self::connect(gateway, hello(&gateway.token(scopes))).await
    }

    pub async fn connect(gateway: &TestGateway, params: Value) -> Self {
        let mut client = Self::open(gateway, &[]).await;
        client.hello = client.call("connect", params).await.expect("the handshake succeeds");
        client
    }

    /// Has read the challenge and says nothing yet.
    pub async fn open(gateway: &TestGateway, headers: &[(&str, &str)]) -> Self {
        let url = format!("ws://{}/", gateway.address(DialectName::Argent));
        let mut ws = WsClient::try_open(&url, headers).await.expect("the upgrade is accepted");
        let challenge = ws.json().await;
        assert_eq!(challenge["event"], "connect.challenge");
        let nonce = challenge["payload"]["nonce"].as_str().expect("a challenge has a nonce").to_owned();
        Self { ws, events: Vec::new(), hello: Value::Null, nonce, next_id: 0 }
    }

    /// `Err` is the whole error object.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.send(method, params).await;
        self.answer(&id).await
    }

    pub async fn send(&mut self, method: &str, params: Value) -> String {
        self.next_id += 1;
        let id = format!("c{}", self.next_id);
        self.ws.send_json(&json!({ "type": "req", "id": id, "method": method, "params": params })).await;
        id
    }

    /// The next answer to a call; what comes before it is kept.
    pub async fn answer(&mut self, id: &str) -> Result<Value, Value> {
        let mut answer = self.frame(id).await;
        if answer["ok"] == true { Ok(answer["payload"].take()) } else { Err(answer["error"].take()) }
    }

    /// The same as it came.
    pub async fn frame(&mut self, id: &str) -> Value {
        let kept = self.events.iter().position(|frame| frame["id"] == id).map(|index| self.events.remove(index));
        match kept {
            Some(answer) => answer,
            None => {
                let (answer, before) = self.ws.until(|frame| frame["id"] == id).await;
                self.events.extend(before);
                answer
            }
        }
    }

    /// The next event with this name; others are kept.
    pub async fn event(&mut self, name: &str) -> Value {
        if let Some(index) = self.events.iter().position(|frame| frame["event"] == name) {
            return self.events.remove(index);
        }
        let (frame, before) = self.ws.until(|frame| frame["event"] == name).await;
        self.events.extend(before);
        frame
    }

    /// The last `chat` event of a run; those before it come along.
    pub async fn chat_end(&mut self, run: &str) -> (Value, Vec<Value>) {
        let mut before = Vec::new();
        loop {
            let chat = self.event("chat").await["payload"].take();
            if chat["runId"] == run && chat["state"] != "delta" {
                return (chat, before);
            }
            before.push(chat);
        }
    }
}
