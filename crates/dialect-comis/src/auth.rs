//! Layers in front of the routes: cross-origin pages, foreign pages, credentials.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dialect::http::{Asker, Caller, Grant, Peer};
use dialect::origin::{is_host_allowed, is_origin_allowed};

use crate::Comis;
use crate::errors::{not_found, refusal};

/// Routes where a token may stand in the query, because browsers cannot set headers there.
pub(crate) fn accepts_query_token(method: &Method, path: &str) -> bool {
    let is_read = method == Method::GET || method == Method::HEAD;
    let is_media = path.strip_prefix("/media/").is_some_and(|rest| {
        let id = rest.strip_suffix("/meta").unwrap_or(rest);
        !id.is_empty() && !id.contains('/')
    });
    is_read && (matches!(path, "/ws" | "/api/events" | "/api/chat/stream") || is_media)
}

/// Adds the headers that let allowed pages read answers below `/api/`. Outermost, so that refusals
/// have them too.
pub(crate) async fn cross_origin(State(comis): State<Arc<Comis>>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = next.run(request).await;
    let settings = comis.settings();
    if is_api && !settings.cors_origins.is_empty() {
        allow_origin(response.headers_mut(), origin, &settings.cors_origins);
    }
    response
}

fn allow_origin(headers: &mut HeaderMap, origin: Option<HeaderValue>, allowed: &[String]) {
    if !headers.contains_key(VARY) {
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    if allowed.iter().any(|entry| entry == "*") {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    }
    if let Some(origin) = origin.filter(|origin| allowed.iter().any(|entry| entry.as_bytes() == origin.as_bytes())) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// Answers preflights and refuses pages that have no business here; then, below `/api/`, asks for a
/// credential before anything else is looked at.
pub(crate) async fn guard(State(comis): State<Arc<Comis>>, mut request: Request, next: Next) -> Response {
    let settings = comis.settings();
    let path = request.uri().path();
    let is_api = path.starts_with("/api/");
    if is_api && !settings.web.enabled {
        return not_found();
    }
    if is_api && request.method() == Method::OPTIONS && !settings.cors_origins.is_empty() {
        return preflight();
    }
    if let Some(refused) = refuse_foreign(&request, &settings.cors_origins) {
        return refused;
    }
    if is_api && path != "/api/health" {
        match authorized(request.extensions().get::<Asker>()) {
            Ok(caller) => request.extensions_mut().insert(caller),
            Err(refused) => return refused,
        };
    }
    next.run(request).await
}

fn authorized(asker: Option<&Asker>) -> Result<Caller, Response> {
    let caller = asker.and_then(|asker| asker.caller.clone());
    let caller = caller.ok_or_else(|| refusal(StatusCode::UNAUTHORIZED, "Unauthorized"))?;
    if caller.may(Grant::Rpc) {
        Ok(caller)
    } else {
        Err(refusal(StatusCode::FORBIDDEN, "Forbidden: insufficient scope"))
    }
}

fn preflight() -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET,POST,OPTIONS"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization,Content-Type"),
        (ACCESS_CONTROL_MAX_AGE, "3600"),
        (VARY, "Origin, Access-Control-Request-Headers"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// A page of another site may not make the gateway act, nor address it under a name of its own.
fn refuse_foreign(request: &Request, allowed: &[String]) -> Option<Response> {
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = header(HOST);
    if !is_host_allowed(host, Peer::of(request.extensions()).listens_on_loopback, allowed) {
        return Some(refusal(StatusCode::FORBIDDEN, "Forbidden: host not allowed"));
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    // The one GET that starts something.
    let acts = !is_safe || request.uri().path() == "/api/chat/stream";
    let is_foreign = acts && !is_origin_allowed(header(ORIGIN), host, allowed);
    is_foreign.then(|| refusal(StatusCode::FORBIDDEN, "Forbidden: origin not allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_the_query_are_for_browsers_only() {
        for path in ["/ws", "/api/events", "/api/chat/stream", "/media/x", "/media/x/meta"] {
            assert!(accepts_query_token(&Method::GET, path), "{path}");
            assert!(!accepts_query_token(&Method::POST, path), "{path}");
        }
        for path in ["/api/agents", "/rpc", "/api/chat", "/media/", "/media/a/b", "/v1/models"] {
            assert!(!accepts_query_token(&Method::GET, path), "{path}");
        }
    }
}
