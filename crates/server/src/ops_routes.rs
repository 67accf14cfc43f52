//! Routes for those who run the gateway: health, readiness, metrics, contracts.

use std::sync::Arc;

use axum::extract::Extension;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use model::Scope;
use serde_json::json;

use crate::surface::{Accepted, DialectSurface, Surface};

pub(crate) fn routes(surface: &Surface, own: &DialectSurface) -> Router {
    let mut router = Router::new();
    for path in ["/health", "/healthz"] {
        let (services, health) = (Arc::clone(&surface.services), own.health);
        router = router.route(path, get(move || async move { Json(health(&services)) }));
    }
    for path in ["/readyz", "/ready"] {
        let (is_ready, ready) = (Arc::clone(&surface.is_ready), own.ready);
        router = router.route(
            path,
            get(move || async move {
                let now = is_ready();
                let status = if now { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                (status, Json(ready(now)))
            }),
        );
    }
    for contract in &surface.contracts {
        let document: Arc<str> = contract.document.to_string().into();
        router = router.route(
            contract.path,
            get(move || async move { ([("content-type", "application/json")], document.to_string()) }),
        );
    }
    let (services, metrics) = (Arc::clone(&surface.services), Arc::clone(&surface.metrics));
    router.route(
        "/metrics",
        get(move |Extension(accepted): Extension<Accepted>, headers: HeaderMap| async move {
            if !accepted.remote.ip().is_loopback() && !may_read(&services, &headers) {
                return unauthorized();
            }
            gauges(&services);
            ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], metrics()).into_response()
        }),
    )
}

fn may_read(services: &services::Services, headers: &HeaderMap) -> bool {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
    token.and_then(|token| services.tokens.authenticate(token)).is_some_and(|identity| identity.scopes.contains(Scope::Read))
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
