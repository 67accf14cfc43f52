//! The Comis dialect: REST, server-sent events, and JSON-RPC over WebSocket and HTTP.
//!
//! Speaks the published Comis API over the gateway's services. [`Comis`] is made once;
//! [`Comis::routes`] serves the same on every listener, [`Comis::listener_routes`] what only a
//! Comis listener has. Routes are in `http`, one file each; methods in `methods`, listed by
//! `table`; how events are told is in `events`. Knows no other dialect and no storage.

mod auth;
mod coalesce;
mod commands;
mod context;
mod errors;
mod events;
mod feed;
mod http;
mod limits;
mod methods;
mod notices;
mod rpc;
mod session_key;
mod settings;
mod sse;
mod table;
mod turn;
mod ws;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use dialect::MethodTable;
use dialect::http::{Gate, HttpRules, limit};
use model::{AgentId, OpError};
use services::Services;

pub use errors::{ErrorBody, not_found};
pub use settings::{
    AgentToAgent, ComisSettings, EventContent, Events, MessageRateLimit, OpenAi, Problem, RateLimit, SECRET_CHARS_MIN,
    Token, UnknownModel, Web,
};
pub use ws::upgrade;

use coalesce::Coalescer;
use context::Context;
use limits::EndedStreams;
use notices::Notices;

/// Where the settings in force come from.
pub type SettingsSource = Arc<dyn Fn() -> Arc<ComisSettings> + Send + Sync>;

/// What runs are marked with that come in through this dialect.
pub(crate) const ORIGIN: &str = "comis";

pub struct Comis {
    services: Arc<Services>,
    settings: SettingsSource,
    gate: Arc<Gate>,
    table: MethodTable,
    notices: Notices,
    streaming: Coalescer,
    /// Open event streams; the last one to close lets go of what the replies in progress hold.
    feeds: AtomicUsize,
    ended_streams: EndedStreams,
}

impl Comis {
    pub fn new(services: Arc<Services>, settings: SettingsSource) -> Arc<Self> {
        let rules = Arc::clone(&settings);
        let notices = Notices::default();
        let gate = Gate::new(Arc::clone(&services), move || rules() as Arc<dyn HttpRules>, auth::accepts_query_token);
        Arc::new(Self {
            services,
            gate: Arc::new(gate),
            table: table::methods(&Context { settings: Arc::clone(&settings), notices: notices.clone() }),
            settings,
            notices,
            streaming: Coalescer::default(),
            feeds: AtomicUsize::new(0),
            ended_streams: EndedStreams::default(),
        })
    }

    /// Credentials and windows of requests, to be shared with the other routes of the process.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The methods of `/ws` and `/rpc`.
    pub fn table(&self) -> &MethodTable {
        &self.table
    }

    /// `/api/*` and `/rpc`, limited and guarded; has no fallback of its own.
    pub fn routes(self: &Arc<Self>) -> Router {
        let router = routed(http::routes());
        self.guarded(router.route("/api/", any(unknown)).route("/api/{*rest}", any(unknown)))
    }

    /// `/health` in Comis's words and the socket on `/ws`: what a listener of this dialect has besides.
    pub fn listener_routes(self: &Arc<Self>) -> Router {
        let mut table = dialect::contract_http::RouteTable::default();
        http::health::add(&mut table);
        self.guarded(routed(table).route("/ws", any(unknown).get(ws::on_path)))
    }

    fn guarded(self: &Arc<Self>, router: Router<Arc<Self>>) -> Router {
        router
            .layer(from_fn_with_state(Arc::clone(self), auth::guard))
            .layer(from_fn_with_state(Arc::clone(&self.gate), limit))
            .layer(from_fn_with_state(Arc::clone(self), auth::cross_origin))
            .with_state(Arc::clone(self))
    }

    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    pub(crate) fn notices(&self) -> &Notices {
        &self.notices
    }

    pub(crate) fn settings(&self) -> Arc<ComisSettings> {
        (self.settings)()
    }

    /// The agent that a request names, or the default one. `Err` is worded for the caller.
    pub(crate) fn agent(&self, named: Option<&str>) -> Result<AgentId, String> {
        agent(&self.services, named)
    }

    pub(crate) fn feed_opened(&self) {
        self.feeds.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn feed_closed(&self) {
        if self.feeds.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.streaming.clear();
        }
    }
}

/// The agent of that name, or the default one. `Err` is worded for the caller.
pub(crate) fn agent(services: &Services, named: Option<&str>) -> Result<AgentId, String> {
    let Some(name) = named.filter(|name| !name.is_empty()) else {
        return Ok(services.agents.default_agent().id.clone());
    };
    let known = AgentId::parse(name).ok().map(|id| services.agents.require(&id).map(|agent| agent.id.clone()));
    match known {
        Some(Ok(id)) => Ok(id),
        Some(Err(OpError { kind: model::ErrorKind::Conflict, .. })) => Err(format!("Agent is suspended: {name}")),
        Some(Err(_)) | None => Err(format!("Unknown agent: {name}")),
    }
}

/// The routes in the form of OpenAPI's `paths`; schemas that have a name go to `generator`.
pub fn paths(generator: &mut schemars::SchemaGenerator) -> serde_json::Value {
    let mut table = http::routes();
    http::health::add(&mut table);
    table.paths(generator)
}

/// A wrong method is an unknown path here, without a word on which methods are right.
fn routed(table: http::Routes) -> Router<Arc<Comis>> {
    table
        .into_paths()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, any(unknown).merge(methods)))
}

async fn unknown() -> axum::response::Response {
    not_found()
}
