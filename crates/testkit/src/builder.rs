//! What a gateway of a test is made from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use events::Link;
use model::{Agent, AgentId, AgentIdentity, Clock, FixedClock, ModelRef, SystemClock, Thinking};
use providers::testkit::ScriptedProvider;
use server::DialectSurface;
use services::{Limits, NodeOptions, Services, SessionRules};
use tools::Registry;

use crate::{START_MS, ScriptedConfig, SharedDatabase};

/// What a dialect brings to the listeners of a test: its socket, and routes that every listener serves.
pub struct Dialect {
    pub surface: DialectSurface,
    pub routes: Router,
}

impl From<DialectSurface> for Dialect {
    fn from(surface: DialectSurface) -> Self {
        Self { surface, routes: Router::new() }
    }
}

pub(crate) type MakeDialect = Box<dyn Fn(&Arc<Services>) -> Dialect + Send + Sync>;
pub(crate) type MakeRoutes = Box<dyn Fn(&Arc<Services>) -> Router + Send + Sync>;

/// Begin with `TestGateway::builder`, end with `start`; everything has a default.
pub struct GatewayBuilder {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fixed_clock: Option<Arc<FixedClock>>,
    pub(crate) seed: u64,
    pub(crate) provider: ScriptedProvider,
    pub(crate) agents: Vec<Agent>,
    pub(crate) fallback: Option<ScriptedProvider>,
    pub(crate) tools: Registry,
    pub(crate) rules: SessionRules,
    pub(crate) limits: Limits,
    pub(crate) auth_required: bool,
    pub(crate) dialects: Vec<MakeDialect>,
    pub(crate) routes: Vec<MakeRoutes>,
    pub(crate) config: Arc<ScriptedConfig>,
    pub(crate) database: Option<Arc<SharedDatabase>>,
    pub(crate) node: NodeOptions,
}

impl Default for GatewayBuilder {
    fn default() -> Self {
        let fixed = Arc::new(FixedClock::at(START_MS));
        let clock: Arc<dyn Clock> = Arc::clone(&fixed) as _;
        Self {
            config: ScriptedConfig::new(Arc::clone(&clock)),
            clock,
            fixed_clock: Some(fixed),
            seed: 1,
            provider: ScriptedProvider::new("scripted"),
            agents: vec![agent("main")],
            fallback: None,
            tools: Registry::built_in(),
            rules: SessionRules::default(),
            limits: Limits::default(),
            auth_required: true,
            dialects: Vec::new(),
            routes: Vec::new(),
            database: None,
            node: NodeOptions::new("test"),
        }
    }
}

impl GatewayBuilder {
    /// Serves a dialect on a listener of its own; called anew after each restart.
    #[must_use]
    pub fn dialect<D: Into<Dialect>>(mut self, make: impl Fn(&Arc<Services>) -> D + Send + Sync + 'static) -> Self {
        self.dialects.push(Box::new(move |services| make(services).into()));
        self
    }

    /// Serves further routes on every listener; alone, on a listener that speaks nothing else.
    #[must_use]
    pub fn routes(mut self, make: impl Fn(&Arc<Services>) -> Router + Send + Sync + 'static) -> Self {
        self.routes.push(Box::new(make));
        self
    }

    /// The machine's clock in place of one that stands still.
    #[must_use]
    pub fn system_clock(mut self) -> Self {
        self.clock = Arc::new(SystemClock);
        self.fixed_clock = None;
        self.config = ScriptedConfig::new(Arc::clone(&self.clock));
        self
    }

    /// Of the ids.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// A provider named `scripted` in place of one that echoes.
    #[must_use]
    pub fn provider(mut self, provider: ScriptedProvider) -> Self {
        self.provider = provider;
        self
    }

    /// A second provider, `spare`; the agents fall back to `spare/model`.
    #[must_use]
    pub fn fallback(mut self, provider: ScriptedProvider) -> Self {
        self.fallback = Some(provider);
        for agent in &mut self.agents {
            agent.fallbacks = vec![ModelRef::new("spare", "model")];
        }
        self
    }

    /// Adds an agent beside `main`.
    #[must_use]
    pub fn agent(mut self, id: &str) -> Self {
        self.agents.push(agent(id));
        self
    }

    #[must_use]
    pub fn change_agents(mut self, change: impl FnOnce(&mut Vec<Agent>)) -> Self {
        change(&mut self.agents);
        self
    }

    /// Adds a tool to the built-in ones.
    ///
    /// # Panics
    /// When the registry refuses it.
    #[must_use]
    pub fn tool(mut self, tool: impl tools::Tool) -> Self {
        self.tools = self.tools.with(Arc::new(tool)).expect("a test's tool is a legal one");
        self
    }

    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    #[must_use]
    pub fn rules(mut self, rules: SessionRules) -> Self {
        self.rules = rules;
        self
    }

    /// A node of a cluster: its database is shared with others, and it speaks with them by `link`.
    #[must_use]
    pub fn node(mut self, name: &str, database: &Arc<SharedDatabase>, link: Option<Arc<dyn Link>>) -> Self {
        self.database = Some(Arc::clone(database));
        self.node = NodeOptions { link, name: name.to_owned(), ..self.node };
        // No two nodes make the same ids.
        self.seed = name.bytes().fold(self.seed, |seed, byte| seed.wrapping_mul(131).wrapping_add(u64::from(byte)));
        self
    }

    /// How long a node may be silent.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.node.lease = lease;
        self
    }

    /// Nobody needs a token. What dialects are told of it is their closures' business.
    #[must_use]
    pub fn without_auth(mut self) -> Self {
        self.auth_required = false;
        self
    }
}

/// An agent on `scripted/model`; its workspace is put below the gateway's folder.
pub fn agent(id: &str) -> Agent {
    Agent {
        id: AgentId::parse(id).expect("tests give legal agent ids"),
        name: id.to_owned(),
        description: format!("The agent `{id}` of a test"),
        model: Some(ModelRef::new("scripted", "model")),
        fallbacks: Vec::new(),
        system_prompt: None,
        thinking: Thinking::Medium,
        workspace: PathBuf::new(),
        tools: None,
        enabled: true,
        identity: AgentIdentity::default(),
    }
}
