//! Whether the gateway serves.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use dialect::contract_http::Route;
use schemars::JsonSchema;
use serde::Serialize;

use super::shared::Routes;
use crate::Comis;
use crate::errors::json_response;

/// Tell that the gateway serves. Needs no token and is never limited.
#[derive(JsonSchema)]
struct Health;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Body {
    /// `ok`
    status: &'static str,
    /// RFC 3339, UTC.
    timestamp: String,
    /// New for each process.
    instance_id: String,
    /// RFC 3339, UTC.
    started_at: String,
}

/// `/health`, on listeners of this dialect.
pub(crate) fn add(table: &mut Routes) {
    table.add(Route::get::<Health>("/health", "health").answer::<Body>(200, "it serves"), get(health));
}

/// `/api/health`, on every listener.
pub(crate) fn add_api(table: &mut Routes) {
    table.add(Route::get::<Health>("/api/health", "apiHealth").answer::<Body>(200, "it serves"), get(health));
}

async fn health(State(comis): State<Arc<Comis>>) -> Response {
    let services = comis.services();
    let body = Body {
        status: "ok",
        timestamp: services.clock.now().to_iso(),
        instance_id: services.info.instance_id.clone(),
        started_at: services.info.started_at.to_iso(),
    };
    json_response(axum::http::StatusCode::OK, &body)
}
