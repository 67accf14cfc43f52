//! What listeners answer while there is no gateway behind them: that it is being waited for, and for what.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use services::Lifecycle;
use tokio::sync::watch;

use crate::accept::{Connections, Served, accept};
use crate::bind::Bound;
use crate::guard::Guard;
use crate::settings::DialectName;

/// Seconds after which it is worth asking again; the longest wait between two attempts.
const RETRY_AFTER: &str = "5";

/// How a dialect words its health.
#[derive(Clone, Copy)]
pub struct Words {
    pub health: fn() -> Value,
    pub ready: fn(bool) -> Value,
}

/// Everything that is served while something is waited for.
pub struct WaitingRoom {
    pub words: fn(DialectName) -> Words,
    /// What is waited for, for whoever asks `/readyz`; without secrets.
    pub reason: watch::Receiver<String>,
    pub allowed_origins: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    pub allowed_hosts: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl WaitingRoom {
    /// Accepts until the lifecycle leaves. Each connection ends with its first answer, so that the next
    /// one meets the gateway.
    pub fn serve(&self, bound: &[Bound], lifecycle: &Lifecycle) -> std::io::Result<Connections> {
        lifecycle.start_moving();
        let served = |dialect| Served { router: self.router(dialect), guard: self.guard() };
        accept(bound, served, lifecycle)
    }

    fn router(&self, dialect: DialectName) -> Router {
        let Words { health, ready } = (self.words)(dialect);
        let healthy = move || async move { axum::Json(health()) };
        let mut router = Router::new().route("/health", get(healthy)).route("/healthz", get(healthy));
        for path in ["/readyz", "/ready"] {
            let reason = self.reason.clone();
            router = router.route(path, get(move || async move { unready(ready(false), &reason.borrow()) }));
        }
        let reason = self.reason.clone();
        router.fallback(move || async move { unready(json!({ "error": "Service Unavailable" }), &reason.borrow()) })
    }

    fn guard(&self) -> Guard {
        Guard { origins: Arc::clone(&self.allowed_origins), hosts: Arc::clone(&self.allowed_hosts) }
    }
}

fn unready(mut words: Value, reason: &str) -> Response {
    words["reason"] = Value::from(reason);
    (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", RETRY_AFTER)], axum::Json(words)).into_response()
}
