//! Routes for those who run the gateway: health, readiness, metrics, contracts.

use std::sync::{Arc, OnceLock};

use axum::extract::Extension;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use model::Scope;
use serde_json::{Value, json};

use crate::accepted::Accepted;
use crate::waiting::Words;

/// Makes a contract.
pub(crate) type Document = Arc<dyn Fn() -> Value + Send + Sync>;

/// What these routes need of the surface.
pub(crate) struct Facts<'a> {
    pub services: &'a Arc<services::Services>,
    pub words: Words,
    /// The dialect serves `/health` itself.
    pub has_own_health: bool,
    pub is_ready: &'a Arc<dyn Fn() -> bool + Send + Sync>,
    pub metrics: &'a Arc<dyn Fn() -> String + Send + Sync>,
    pub contracts: Vec<(&'static str, Document)>,
}

pub(crate) fn routes(facts: Facts<'_>) -> Router {
    let mut router = Router::new();
    let paths: &[&str] = if facts.has_own_health { &["/healthz"] } else { &["/health", "/healthz"] };
    for path in paths {
        let Words { health, .. } = facts.words;
        router = router.route(path, get(move || async move { Json(health()) }));
    }
    for path in ["/readyz", "/ready"] {
        let (is_ready, Words { ready, .. }) = (Arc::clone(facts.is_ready), facts.words);
        router = router.route(
            path,
            get(move || async move {
                let now = is_ready();
                let status = if now { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                (status, Json(ready(now)))
            }),
        );
    }
    for (path, document) in facts.contracts {
        let text: Arc<OnceLock<String>> = Arc::default();
        router = router.route(
            path,
            get(move || async move {
                let text = text.get_or_init(|| document().to_string()).clone();
                ([("content-type", "application/json")], text)
            }),
        );
    }
    let (services, metrics) = (Arc::clone(facts.services), Arc::clone(facts.metrics));
    router.route(
        "/metrics",
        get(move |Extension(accepted): Extension<Accepted>, headers: HeaderMap| async move {
            if !is_local(&accepted, &headers) && !may_read(&services, &headers) {
                return unauthorized();
            }
            gauges(&services);
            ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], metrics()).into_response()
        }),
    )
}

/// Somebody on this machine; not a proxy on it that asks for somebody else.
fn is_local(accepted: &Accepted, headers: &HeaderMap) -> bool {
    let is_forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
    accepted.remote.ip().is_loopback() && !is_forwarded
}

fn may_read(services: &services::Services, headers: &HeaderMap) -> bool {
    let token = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    token
        .and_then(|token| services.tokens.authenticate(token))
        .is_some_and(|identity| identity.scopes.contains(Scope::Read))
}

fn unauthorized() -> Response {
    (StatusCode::UNAUTHORIZED, Json(json!({ "error": "Unauthorized" }))).into_response()
}

/// Facts that are read, not counted.
fn gauges(services: &services::Services) {
    #[allow(clippy::cast_precision_loss, reason = "metrics are floating point by their nature")]
    let set = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
    set("patchbay_connections", services.presence.connections());
    set("patchbay_runs_unfinished", services.runs.unfinished_count() as u64);
    set("patchbay_event_listeners", services.bus.listeners() as u64);
    set("patchbay_event_cursor", services.bus.newest().0);
    set("patchbay_uptime_seconds", services.info.uptime_ms(&*services.clock) / 1000);
}
