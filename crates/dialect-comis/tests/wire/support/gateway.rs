//! A whole gateway on a port of its own, with a temporary database and a scripted model.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::ConnectInfo;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use dialect::peer::PeerInfo;
use dialect_comis::{Comis, ComisSettings, Token, not_found};
use futures_util::future::BoxFuture;
use model::{
    Agent, AgentId, AgentIdentity, FixedClock, Ids, ModelRef, OpError, Principal, Secret, SessionKey, Thinking,
    Timestamp,
};
use providers::testkit::ScriptedProvider;
use providers::{Registry, RetryPolicy, Router};
use serde_json::{Value, json};
use services::runs::NewRun;
use services::settings::{ConfigCheck, ConfigReload};
use services::{GatewayConfig, GatewayInfo, Limits, Models, Services, SessionRules};
use store::Store;
use store_sqlite::{Durability, SqliteOptions, SqliteStore};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// When every test begins: 2026-09-21T14:13:20Z.
pub const START_MS: i64 = 1_790_000_000_000;

/// A token for every kind of caller; its secret is made of its name.
pub const TOKENS: [(&str, &[&str]); 6] = [
    ("all", &["*"]),
    ("rpc", &["rpc"]),
    ("admin", &["admin"]),
    ("api", &["api"]),
    ("none", &[]),
    ("mcp", &["mcp-client"]),
];

pub fn secret(token: &str) -> String {
    format!("{token}-secret-of-the-tests-0123456789")
}

pub struct Gateway {
    pub services: Arc<Services>,
    pub comis: Arc<Comis>,
    pub provider: ScriptedProvider,
    pub clock: Arc<FixedClock>,
    pub address: SocketAddr,
    settings: Arc<RwLock<Arc<ComisSettings>>>,
    store: Arc<dyn Store>,
    server: Server,
    folder: TempDir,
}

impl Gateway {
    pub async fn start() -> Self {
        Self::start_with(ComisSettings::default()).await
    }

    /// The tokens of the tests come on top of the settings.
    pub async fn start_with(settings: ComisSettings) -> Self {
        Self::open(tempfile::tempdir().unwrap(), settings, Limits::default(), 1).await
    }

    pub async fn start_with_limits(limits: Limits) -> Self {
        Self::open(tempfile::tempdir().unwrap(), ComisSettings::default(), limits, 1).await
    }

    async fn open(folder: TempDir, mut settings: ComisSettings, limits: Limits, seed: u64) -> Self {
        // Only the first of several tests installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if settings.tokens.is_empty() {
            settings.tokens = TOKENS
                .iter()
                .map(|(id, scopes)| Token {
                    id: (*id).to_owned(),
                    secret: Some(Secret::new(secret(id))),
                    scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
                })
                .collect();
        }
        assert_eq!(settings.problems(), []);
        let clock = Arc::new(FixedClock::at(START_MS));
        let options = SqliteOptions { durability: Durability::Normal, ..SqliteOptions::default() };
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path().join("patchbay.db"), options).unwrap());
        let provider = ScriptedProvider::new("scripted");
        let ids = Arc::new(Ids::seeded(clock.clone(), seed));
        let services = Services::start(services::Parts { ids, ..parts(&clock, &store, &provider, &folder, limits) })
            .await
            .unwrap();
        let (tokens, missing) = settings.configured_tokens(|_| None);
        assert_eq!(missing, Vec::<String>::new());
        services.tokens.set_configured(tokens);
        services.runs.recover().await.unwrap();
        let settings = Arc::new(RwLock::new(Arc::new(settings)));
        let source = Arc::clone(&settings);
        let comis = Comis::new(Arc::clone(&services), Arc::new(move || Arc::clone(&source.read().unwrap())));
        let app = comis.routes().merge(comis.listener_routes()).route("/comis", get(elsewhere(&comis)));
        let app = app.fallback(|| async { not_found() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server(tokio::spawn(async move {
            axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
        }));
        Self { services, comis, provider, clock, address, settings, store, server, folder }
    }

    /// Stops the gateway and starts another one over the same database.
    pub async fn restart(self) -> Self {
        let settings = ComisSettings::clone(&self.settings.read().unwrap());
        self.stop().await;
        let Self { store, server, folder, services, comis, .. } = self;
        drop((server, services, comis, store));
        // Another seed: ids never come again.
        Self::open(folder, settings, Limits::default(), 2).await
    }

    /// Everything ends, as on a signal; the port stays.
    pub async fn stop(&self) {
        assert!(self.services.lifecycle.stop(Duration::from_secs(10)).await);
        self.store.close().await;
    }

    pub fn change(&self, change: impl FnOnce(&mut ComisSettings)) {
        let mut settings = self.settings.write().unwrap();
        let mut changed = ComisSettings::clone(&settings);
        change(&mut changed);
        *settings = Arc::new(changed);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the store holds of a session: nothing when it does not exist.
    pub async fn messages_in(&self, session: &str) -> u64 {
        let session = self.services.sessions.get(&SessionKey::parse(session).unwrap()).await.unwrap();
        session.map_or(0, |session| session.message_count)
    }

    /// A whole turn, through no dialect.
    pub async fn given_turn(&self, session: &str, message: &str) {
        let new = NewRun::new(SessionKey::parse(session).unwrap(), message, "test");
        let accepted = self.services.runs.accept(&Principal::gateway(), new).await.unwrap();
        let id = accepted.run.id.clone();
        accepted.start.unwrap().start();
        self.services.runs.wait(&id, Duration::from_secs(10)).await.unwrap().expect("the turn ends");
    }
}

/// Serves until it is dropped.
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The socket as a listener of another dialect serves it.
fn elsewhere(
    comis: &Arc<Comis>,
) -> impl Fn(WebSocketUpgrade, ConnectInfo<SocketAddr>, HeaderMap) -> BoxFuture<'static, Response>
+ Clone
+ Send
+ Sync
+ 'static {
    let comis = Arc::clone(comis);
    move |ws, ConnectInfo(remote), headers| {
        let peer = PeerInfo { remote, headers, listens_on_loopback: true };
        Box::pin(dialect_comis::upgrade(Arc::clone(&comis), ws, peer, None))
    }
}

fn parts(
    clock: &Arc<FixedClock>,
    store: &Arc<dyn Store>,
    provider: &ScriptedProvider,
    folder: &TempDir,
    limits: Limits,
) -> services::Parts {
    let registry = Arc::new(Registry::new(clock.clone()));
    registry.replace([Arc::new(provider.clone()) as Arc<dyn providers::Provider>], None);
    let policy = RetryPolicy { attempts_max: 1, ..RetryPolicy::default() };
    let router = Arc::new(Router::new(Arc::clone(&registry), clock.clone(), policy, 1));
    let default = ModelRef::new("scripted", "default");
    services::Parts {
        clock: clock.clone(),
        ids: Arc::new(Ids::seeded(clock.clone(), 7)),
        info: GatewayInfo {
            version: "0.0.0",
            build: "dev",
            started_at: Timestamp::from_ms(START_MS),
            instance_id: "instance-1".into(),
            host: "host".into(),
            home: folder.path().to_owned(),
            pid: 1,
        },
        store: Arc::clone(store),
        agents: vec![
            agent("main", "Main", true, folder),
            agent("work", "", true, folder),
            agent("idle", "Idle", false, folder),
        ],
        models: Models::new(registry, router, Some(default)),
        tools: Arc::new(tools::Registry::built_in()),
        rules: SessionRules::default(),
        limits,
        config: Arc::new(TemporaryConfig),
        node: services::NodeOptions::new("test"),
    }
}

fn agent(id: &str, name: &str, enabled: bool, folder: &TempDir) -> Agent {
    let workspace: PathBuf = folder.path().join("agents").join(id);
    std::fs::create_dir_all(&workspace).unwrap();
    Agent {
        id: AgentId::parse(id).unwrap(),
        name: name.to_owned(),
        description: String::new(),
        model: None,
        fallbacks: Vec::new(),
        system_prompt: None,
        thinking: Thinking::Medium,
        workspace,
        tools: None,
        enabled,
        identity: AgentIdentity::default(),
    }
}

struct TemporaryConfig;

#[async_trait]
impl GatewayConfig for TemporaryConfig {
    fn effective(&self) -> Value {
        json!({ "auth": { "required": true } })
    }

    fn source(&self) -> String {
        "defaults".into()
    }

    fn loaded_at(&self) -> Timestamp {
        Timestamp::from_ms(START_MS)
    }

    fn schema(&self) -> Value {
        json!({})
    }

    fn check(&self, _: &Value) -> ConfigCheck {
        ConfigCheck { errors: Vec::new(), warnings: Vec::new() }
    }

    async fn reload(&self) -> Result<ConfigReload, OpError> {
        Ok(ConfigReload { changed_keys: Vec::new(), source: self.source(), restart_components: Vec::new() })
    }
}
