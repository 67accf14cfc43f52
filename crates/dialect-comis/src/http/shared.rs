//! What the routes share: refusals in Comis's words, and the bodies that they read.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use dialect::contract_http::{Route, RouteTable};
use dialect::http::{BodyError, read_body};
use serde::de::DeserializeOwned;

use crate::Comis;
use crate::errors::{ErrorBody, refusal};

pub(crate) type Routes = RouteTable<Arc<Comis>>;

/// What every authenticated route below `/api/` can answer besides.
pub(crate) fn with_refusals(route: Route) -> Route {
    route
        .scopes(&["rpc"])
        .answer::<ErrorBody>(401, "no token, or an unknown one")
        .answer::<ErrorBody>(403, "the token lacks the scope")
        .plain(429, "too many requests; see `retry-after`", "application/json")
        .answer::<ErrorBody>(500, "unexpected failure")
}

/// The body of a request that must be JSON: size, then type; what it says is for the caller to judge.
pub(crate) async fn json_body(request: Request, bytes_max: usize) -> Result<Bytes, Response> {
    let (parts, body) = request.into_parts();
    let body = match read_body(&parts.headers, body, bytes_max).await {
        Ok(body) => body,
        Err(BodyError::TooLarge(_)) => return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large")),
        Err(BodyError::Broken) => return Err(refusal(StatusCode::BAD_REQUEST, "Invalid JSON body")),
    };
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().contains("application/json") {
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json"));
    }
    Ok(body)
}

/// Reads JSON of any shape, however deep it may legally nest.
pub(crate) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    let text = std::str::from_utf8(body).ok().filter(|text| !dialect::depth::is_too_deep(text));
    let parsed = text.and_then(|text| serde_json::from_str(text).ok());
    parsed.ok_or_else(|| refusal(StatusCode::BAD_REQUEST, "Invalid JSON body"))
}
