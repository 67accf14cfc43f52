//! Under which names the gateway answers, and which pages may change something.

use std::sync::Arc;

use axum::http::header::{HOST, ORIGIN, UPGRADE};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use dialect::origin::{is_host_allowed, is_origin_allowed};

use crate::accepted::Accepted;

pub(crate) struct Guard {
    pub origins: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    pub hosts: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl Guard {
    /// Refuses foreign names on loopback listeners, and requests of foreign pages that would change
    /// something. Upgrades are judged by their dialect, which has words of its own for a refusal.
    pub fn refusal<B>(&self, request: &Request<B>) -> Option<Response> {
        self.reason(request).map(refuse)
    }

    fn reason<B>(&self, request: &Request<B>) -> Option<&'static str> {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let host = text(HOST).or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        let on_loopback = request.extensions().get::<Accepted>().is_none_or(|accepted| accepted.listens_on_loopback);
        // The names of this machine need no look into the settings.
        if !is_host_allowed(host, on_loopback, &[]) && !is_host_allowed(host, on_loopback, &(self.hosts)()) {
            return Some("this name is not served here; add it to auth.allowed_hosts");
        }
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let is_foreign = |origin| !is_origin_allowed(Some(origin), host, &(self.origins)());
        let is_refused = changes && !request.headers().contains_key(UPGRADE) && text(ORIGIN).is_some_and(is_foreign);
        is_refused.then_some("origin not allowed")
    }
}

fn refuse(reason: &str) -> Response {
    (StatusCode::FORBIDDEN, axum::Json(serde_json::json!({ "error": reason }))).into_response()
}
