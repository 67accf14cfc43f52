//! What is served: the dialects' sockets and routes, joined with the gateway's own.

use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, RawQuery};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use dialect::peer::PeerInfo;
use futures_util::future::BoxFuture;
use serde_json::Value;
use services::{Lifecycle, Services};

use crate::accept::{Connections, Served, accept};
use crate::accepted::Accepted;
use crate::bind::Bound;
use crate::guard::Guard;
use crate::ops_routes;
use crate::settings::DialectName;
use crate::waiting::Words;

/// Answers a WebSocket upgrade; the text is the raw query.
pub type Upgrade =
    Arc<dyn Fn(WebSocketUpgrade, PeerInfo, Option<String>) -> BoxFuture<'static, Response> + Send + Sync>;

/// What one dialect brings.
pub struct DialectSurface {
    pub name: DialectName,
    pub upgrade: Upgrade,
    /// How the dialect words its health.
    pub words: Words,
    /// What its listeners serve in place of the common `/health` and `/ws`, where the dialect has
    /// rules of its own for them.
    pub own_routes: Option<Router>,
}

/// A machine-readable contract and where it is served.
pub struct Contract {
    pub path: &'static str,
    /// Makes the document; asked once, by the first who wants it.
    pub document: Arc<dyn Fn() -> Value + Send + Sync>,
}

/// Everything a listener serves.
pub struct Surface {
    pub services: Arc<Services>,
    pub dialects: Vec<DialectSurface>,
    /// Routes of the dialects, without `/health` and the like.
    pub routes: Router,
    pub contracts: Vec<Contract>,
    /// Renders the metrics in Prometheus' text form.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Web origins that may change things over HTTP, besides this machine's.
    pub allowed_origins: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Names under which a loopback listener may be addressed.
    pub allowed_hosts: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Work left over from before the start was taken up and the database answers.
    pub is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Surface {
    /// Accepts on all listeners until the gateway drains or leaves.
    pub fn serve(&self, bound: &[Bound], lifecycle: &Lifecycle) -> std::io::Result<Connections> {
        accept(bound, |dialect| Served { router: self.router(dialect), guard: self.guard() }, lifecycle)
    }

    /// The router of a listener that speaks `dialect`.
    fn router(&self, dialect: DialectName) -> Router {
        let own =
            self.dialects.iter().find(|surface| surface.name == dialect).expect("every listener's dialect is served");
        let mut router = ops_routes::routes(ops_routes::Facts {
            services: &self.services,
            words: own.words,
            has_own_health: own.own_routes.is_some(),
            is_ready: &self.is_ready,
            metrics: &self.metrics,
            contracts: self.contracts.iter().map(|contract| (contract.path, Arc::clone(&contract.document))).collect(),
        });
        for surface in &self.dialects {
            let upgrade = Arc::clone(&surface.upgrade);
            router = router.route(
                &format!("/{}", surface.name.as_str()),
                any(move |request: Knock| request.open(upgrade.clone(), None)),
            );
        }
        let (root, ws) = (Arc::clone(&own.upgrade), Arc::clone(&own.upgrade));
        router = match &own.own_routes {
            Some(routes) => router.merge(routes.clone()),
            None => router.route("/ws", any(move |request: Knock| request.open(ws.clone(), None))),
        };
        router = router
            .route("/", any(move |request: Knock| request.open(root.clone(), Some("/app/"))))
            .route("/app", get(|| async { Redirect::permanent("/app/") }))
            .route("/app/", get(no_page))
            .route("/app/{*path}", get(no_page));
        router = router.merge(self.routes.clone());
        // Clients of this dialect upgrade wherever they like; what is served under a path stays there.
        if dialect == DialectName::Argent {
            let anywhere = Arc::clone(&own.upgrade);
            router.fallback(move |request: Knock| request.open(anywhere.clone(), None))
        } else {
            router.fallback(not_found)
        }
    }

    fn guard(&self) -> Guard {
        Guard { origins: Arc::clone(&self.allowed_origins), hosts: Arc::clone(&self.allowed_hosts) }
    }
}

/// A request on a path that upgrades.
struct Knock {
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    peer: PeerInfo,
    query: Option<String>,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Knock {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, StatusCode> {
        let accepted = parts.extensions.get::<Accepted>().copied().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        let RawQuery(query) = RawQuery::from_request_parts(parts, state).await.map_err(|_| StatusCode::BAD_REQUEST)?;
        let peer = PeerInfo {
            remote: accepted.remote,
            headers: parts.headers.clone(),
            listens_on_loopback: accepted.listens_on_loopback,
        };
        Ok(Self { upgrade: WebSocketUpgrade::from_request_parts(parts, state).await, peer, query })
    }
}

impl Knock {
    async fn open(self, upgrade: Upgrade, otherwise: Option<&'static str>) -> Response {
        match (self.upgrade, otherwise) {
            (Ok(socket), _) => upgrade(socket, self.peer, self.query).await,
            (Err(_), Some(path)) => Redirect::temporary(path).into_response(),
            (Err(_), None) => not_found().await,
        }
    }
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, axum::Json(serde_json::json!({ "error": "Not Found" }))).into_response()
}

/// This build holds no dashboard; say so, and what works instead.
async fn no_page(_: Extension<Accepted>, _: HeaderMap) -> Response {
    const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Patchbay</title>\
<h1>Patchbay is running</h1><p>This build was made without the dashboard.</p>\
<p>Talk to the agent with <code>patchbay chat</code>, or use any Aleph, Comis, ArgentOS or OpenAI client.</p></html>";
    (StatusCode::NOT_FOUND, [("content-type", "text/html; charset=utf-8")], PAGE).into_response()
}
