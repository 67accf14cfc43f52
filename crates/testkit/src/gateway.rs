//! A gateway in a test: started, talked to, restarted, killed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use model::{
    ErrorKind, FixedClock, Ids, ModelRef, NewMessage, OpError, Principal, Role, Run, RunId, Scope, ScopeSet, Secret,
    Session, SessionKey, SessionSettings,
};
use providers::testkit::ScriptedProvider;
use providers::{Provider, Registry, RetryPolicy, Router as ModelRouter};
use server::settings::{DialectName, ListenSettings};
use server::{DialectSurface, Surface};
use services::info::GatewayInfo;
use services::runs::{Accepted, NewRun, Recovered};
use services::tokens::ConfiguredToken;
use services::{Models, Parts, Services};
use store::{Store, StoreError, StoredEvent};
use store_sqlite::{Durability, SqliteOptions, SqliteStore};
use tempfile::TempDir;

use crate::builder::GatewayBuilder;
use crate::store::Fault;
use crate::{Contents, PATIENCE, ScriptedConfig, ScriptedStore, WsClient, soon};

/// Waits in tests are short; what is tried again is tried again at once.
const RETRIES: RetryPolicy = RetryPolicy {
    attempts_max: 3,
    backoff_base_ms: 1,
    backoff_max_ms: 2,
    retry_after_max_ms: 10,
    cooldown_base_ms: 0,
    cooldown_max_ms: 0,
};

/// The whole gateway but for the binary: services over a database in a temporary folder, a scripted
/// model, real listeners on free ports.
pub struct TestGateway {
    pub services: Arc<Services>,
    pub store: Arc<ScriptedStore>,
    /// Answers as `scripted/model`; echoes when its script is empty.
    pub provider: ScriptedProvider,
    pub config: Arc<ScriptedConfig>,
    /// What the last start took up.
    pub recovered: Recovered,
    plan: GatewayBuilder,
    listeners: Vec<(DialectName, SocketAddr)>,
    tokens: Mutex<Vec<ConfiguredToken>>,
    starts: u64,
    folder: TempDir,
}

impl GatewayBuilder {
    /// Opens the store, starts the services, takes up what is left over, and listens.
    pub async fn start(self) -> TestGateway {
        TestGateway::start_from(self).await
    }
}

impl TestGateway {
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::default()
    }

    /// Without a listener: for tests of services.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    async fn start_from(plan: GatewayBuilder) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let admin = configured("admin", ADMIN, ScopeSet::OPERATOR, "operator");
        let started = start(&plan, &folder, 0, vec![admin.clone()]).await;
        Self {
            services: started.services,
            store: started.store,
            recovered: started.recovered,
            listeners: started.listeners,
            provider: plan.provider.clone(),
            config: Arc::clone(&plan.config),
            plan,
            tokens: Mutex::new(vec![admin]),
            starts: 1,
            folder,
        }
    }

    /// Stops in order and starts again over the same database. Runs that are not over by then are
    /// taken up again; sockets are closed.
    pub async fn restart(&mut self) {
        self.stop().await;
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let started = start(&self.plan, &self.folder, self.starts, tokens).await;
        self.starts += 1;
        self.services = started.services;
        self.store = started.store;
        self.recovered = started.recovered;
        self.listeners = started.listeners;
    }

    /// Like a process that is killed: from this moment nothing reaches the database any more.
    /// Then starts again.
    pub async fn crash(&mut self) {
        self.store.set_fault(Fault::Refuse);
        self.store.let_go();
        self.restart().await;
    }

    /// Like a process that is killed, for good: nothing reaches the database any more, and no task of
    /// it runs.
    pub async fn die(&mut self) {
        self.store.set_fault(Fault::Refuse);
        self.store.let_go();
        assert!(self.services.lifecycle.stop(PATIENCE).await, "some task did not end when the node died");
    }

    /// Leaves its cluster in order: what it has not finished goes to the others.
    pub async fn leave(&mut self) {
        assert!(self.services.lifecycle.stop(PATIENCE).await, "some task did not end when the node left");
        self.services.cluster.leave().await.expect("the node can say goodbye");
        self.store.close().await;
    }

    /// Ends every task and closes the database.
    ///
    /// # Panics
    /// When some task does not end.
    pub async fn stop(&self) {
        assert!(self.services.lifecycle.stop(PATIENCE).await, "some task did not end when the gateway stopped");
        self.store.close().await;
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The clock that stands still.
    ///
    /// # Panics
    /// When the gateway was built with the machine's.
    pub fn clock(&self) -> &Arc<FixedClock> {
        self.plan.fixed_clock.as_ref().expect("the gateway has a fixed clock")
    }

    /// Where a dialect listens.
    ///
    /// # Panics
    /// When the dialect was not handed in.
    pub fn address(&self, dialect: DialectName) -> SocketAddr {
        let found = self.listeners.iter().find(|(name, _)| *name == dialect);
        found.unwrap_or_else(|| panic!("{} is not served by this gateway", dialect.as_str())).1
    }

    /// `http://…` of the first listener.
    pub fn http_url(&self, path: &str) -> String {
        let (_, address) = self.listeners.first().expect("the gateway listens");
        format!("http://{address}{path}")
    }

    /// A client for routes, which follows no redirects.
    pub fn http(&self) -> reqwest::Client {
        providers::testkit::install_tls();
        let built = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build();
        built.expect("a plain HTTP client can be made")
    }

    /// A socket on `/` of a dialect's listener; nothing is said yet.
    pub async fn socket(&self, dialect: DialectName) -> WsClient {
        WsClient::open(&format!("ws://{}/", self.address(dialect))).await
    }

    /// The secret of the operator who has every scope.
    pub fn admin(&self) -> &'static str {
        ADMIN
    }

    /// A credential with exactly these scopes.
    pub fn token(&self, scopes: &[Scope]) -> String {
        self.token_for("operator", scopes)
    }

    /// A credential of a role: `operator`, `node` …
    pub fn token_for(&self, role: &str, scopes: &[Scope]) -> String {
        let scopes: ScopeSet = scopes.iter().copied().collect();
        let name = format!("{role}-{}", scopes.to_text().replace(',', "-"));
        let secret = format!("test-secret-of-{name}");
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if !tokens.iter().any(|token| token.id == name) {
            tokens.push(configured(&name, &secret, scopes, role));
            self.services.tokens.set_configured(tokens.clone());
        }
        secret
    }

    /// Adds messages to a session as if they had been there for long; no event tells of it.
    pub async fn given_session(&self, session: &str, messages: impl IntoIterator<Item = NewMessage>) -> Session {
        let (ids, now) = (&self.services.ids, self.services.clock.now());
        let messages: Vec<_> = messages.into_iter().map(|body| (ids.message(), body)).collect();
        let fresh = Session {
            key: key(session),
            id: ids.session(),
            created_at: now,
            updated_at: now,
            message_count: 0,
            token_count: 0,
            input_tokens: 0,
            output_tokens: 0,
            last_compaction: None,
            aborted_last_run: false,
            settings: SessionSettings::default(),
        };
        let written = self.db().write::<_, StoreError, _>(move |tx| {
            let mut session = tx.sessions().get(&fresh.key)?.unwrap_or(fresh);
            tx.sessions_mut().put(&session)?;
            for (id, body) in &messages {
                tx.messages_mut().append((&session.key, &session.id), id, None, now, body)?;
                session.message_count += 1;
                session.token_count += body.token_estimate();
            }
            tx.sessions_mut().put(&session)?;
            Ok(session)
        });
        written.await.expect("a fixture can be written")
    }

    /// Gives a session a message as the operator and lets its run start.
    pub async fn say(&self, session: &str, text: &str) -> RunId {
        let accepted = self.accept(NewRun::new(key(session), text, "test")).await.expect("the message is accepted");
        accepted.run.id.clone()
    }

    /// The run starts when the answer is dropped.
    pub async fn accept(&self, new: NewRun) -> Result<Accepted, OpError> {
        self.services.runs.accept(&Principal::gateway(), new).await
    }

    /// Waits for the run's end.
    pub async fn ended(&self, id: &RunId) -> Run {
        let run = self.services.runs.wait(id, PATIENCE).await.expect("runs can be read");
        run.unwrap_or_else(|| panic!("run {id} did not end within {} s", PATIENCE.as_secs()))
    }

    /// Waits until no run is unfinished.
    pub async fn idle(&self) {
        soon("the end of all runs", self.services.runs.idle()).await;
    }

    /// Role and text of each message of the present transcript; none when there is no such session.
    pub async fn messages(&self, session: &str) -> Vec<(Role, String)> {
        let history =
            self.services.sessions.history(&key(session), Default::default()).await.expect("sessions can be read");
        let messages = history.map(|history| history.messages).unwrap_or_default();
        messages.into_iter().map(|message| (message.body.role, message.body.content.text().into_owned())).collect()
    }

    /// The whole event log.
    pub async fn events(&self) -> Vec<StoredEvent> {
        let read = self.db().read::<_, StoreError, _>(|snapshot| snapshot.events().after(model::Cursor(0), u32::MAX));
        read.await.expect("the log can be read")
    }

    pub async fn contents(&self) -> Contents {
        Contents::of(self.db()).await.expect("the database can be read")
    }

    pub fn db(&self) -> &(dyn Store + 'static) {
        &*self.store
    }
}

const ADMIN: &str = "test-secret-of-the-operator";

/// # Panics
/// When it is not a legal key.
fn key(text: &str) -> SessionKey {
    SessionKey::parse(text).expect("tests give legal keys")
}

fn configured(id: &str, secret: &str, scopes: ScopeSet, role: &str) -> ConfiguredToken {
    ConfiguredToken { id: id.to_owned(), secret: Secret::new(secret), scopes, role: role.to_owned(), words: Vec::new() }
}

struct Started {
    services: Arc<Services>,
    store: Arc<ScriptedStore>,
    recovered: Recovered,
    listeners: Vec<(DialectName, SocketAddr)>,
}

async fn start(plan: &GatewayBuilder, folder: &TempDir, start: u64, tokens: Vec<ConfiguredToken>) -> Started {
    let store = ScriptedStore::new(match &plan.database {
        Some(shared) => shared.open(),
        None => open(folder),
    });
    // A new process makes other ids than the one before.
    let ids = Arc::new(Ids::seeded(Arc::clone(&plan.clock), plan.seed.wrapping_add(start.wrapping_mul(0x9e37_79b9))));
    let parts = Parts {
        clock: Arc::clone(&plan.clock),
        info: GatewayInfo {
            version: "0.0.0",
            build: "test",
            started_at: plan.clock.now(),
            instance_id: ids.uuid().to_string(),
            host: String::from("test"),
            home: folder.path().to_owned(),
            pid: 1,
        },
        ids,
        store: Arc::clone(&store) as Arc<dyn Store>,
        agents: plan.agents.iter().cloned().map(|agent| housed(agent, folder)).collect(),
        models: models(plan),
        tools: Arc::new(plan.tools.clone()),
        rules: plan.rules.clone(),
        limits: plan.limits.clone(),
        config: Arc::clone(&plan.config) as _,
        node: plan.node.clone(),
    };
    let services = Services::start(parts).await.expect("the services start");
    plan.config.tell_through(&services);
    services.tokens.set_configured(tokens);
    let recovered = services.runs.recover().await.expect("unfinished runs are taken up");
    let listeners = listen(plan, &services);
    Started { services, store, recovered, listeners }
}

fn open(folder: &TempDir) -> Arc<dyn Store> {
    // What a test is after is the order of things, not whether they survive a power cut.
    let options = SqliteOptions {
        durability: Durability::Normal,
        busy_timeout: Duration::from_secs(1),
        ..SqliteOptions::default()
    };
    Arc::new(SqliteStore::open(folder.path().join("test.db"), options).expect("the temporary database opens"))
}

fn housed(mut agent: model::Agent, folder: &TempDir) -> model::Agent {
    agent.workspace = folder.path().join("agents").join(agent.id.as_str());
    std::fs::create_dir_all(&agent.workspace).expect("a workspace can be made");
    agent
}

fn models(plan: &GatewayBuilder) -> Models {
    let registry = Arc::new(Registry::new(Arc::clone(&plan.clock)));
    let spare = plan.fallback.clone().map(|provider| Arc::new(provider) as Arc<dyn Provider>);
    registry.replace(std::iter::once(Arc::new(plan.provider.clone()) as Arc<dyn Provider>).chain(spare), None);
    let router = Arc::new(ModelRouter::new(Arc::clone(&registry), Arc::clone(&plan.clock), RETRIES, plan.seed));
    Models::new(registry, router, Some(ModelRef::new("scripted", "model")))
}

fn listen(plan: &GatewayBuilder, services: &Arc<Services>) -> Vec<(DialectName, SocketAddr)> {
    let mut routes = Router::new();
    let mut dialects = Vec::new();
    for dialect in plan.dialects.iter().map(|make| make(services)) {
        routes = routes.merge(dialect.routes);
        dialects.push(dialect.surface);
    }
    for make in &plan.routes {
        routes = routes.merge(make(services));
    }
    if dialects.is_empty() && !plan.routes.is_empty() {
        dialects.push(mute());
    }
    let wanted: Vec<ListenSettings> = dialects
        .iter()
        .map(|surface| ListenSettings {
            dialect: surface.name,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
        })
        .collect();
    let bound = server::bind(&wanted, plan.auth_required).expect("loopback ports are free");
    let addresses = bound.iter().map(|bound| (bound.dialect, bound.address)).collect();
    let lifecycle = services.lifecycle.clone();
    let surface = Surface {
        services: Arc::clone(services),
        dialects,
        routes,
        contracts: Vec::new(),
        metrics: Arc::new(String::new),
        allowed_origins: Arc::new(Vec::new),
        allowed_hosts: Arc::new(Vec::new),
        is_ready: Arc::new(move || !lifecycle.is_draining()),
    };
    for listener in bound {
        listener.serve(&surface, &services.lifecycle);
    }
    addresses
}

/// For gateways that serve routes and no socket.
fn mute() -> DialectSurface {
    DialectSurface {
        name: DialectName::Comis,
        upgrade: Arc::new(|_, _, _| async { StatusCode::NOT_FOUND.into_response() }.boxed()),
        health: |_| serde_json::json!({ "status": "ok" }),
        ready: |ready| serde_json::json!({ "ready": ready }),
        own_routes: None,
    }
}

/// For tests that compare an error: its kind and the text for the caller.
pub fn told<T>(result: Result<T, OpError>) -> Result<T, (ErrorKind, String)> {
    result.map_err(|error| (error.kind, error.message))
}
