//! What all routes share: refusals, and how a body is read.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use dialect::contract_http::{Route, RouteTable};
use dialect::http::{BodyError, read_body};
use serde_json::Value;

use crate::OpenAi;
use crate::errors::{ApiError, ErrorBody};

pub(crate) type Routes = RouteTable<Arc<OpenAi>>;

/// What every path and every method answers that is not served. Handlers begin with `any(unknown)`: a
/// wrong method is an unknown path, and the right ones are not told.
pub(crate) async fn unknown() -> Response {
    ApiError::not_found("Not Found").into_response()
}

/// What every route can answer besides.
pub(crate) fn with_refusals(route: Route) -> Route {
    route
        .scopes(&["api", "rpc"])
        .answer::<ErrorBody>(401, "no token, or an unknown one")
        .answer::<ErrorBody>(403, "the token lacks the scope")
        .plain(429, "too many requests; see `retry-after`", "application/json")
}

/// What every route with a body can answer besides.
pub(crate) fn with_body_refusals(route: Route) -> Route {
    with_refusals(route)
        .answer::<ErrorBody>(400, "the body is not JSON or not as described")
        .answer::<ErrorBody>(413, "the body is too large")
        .answer::<ErrorBody>(500, "unexpected failure, or the status that the model's provider gave")
}

/// The body of a request, whatever its type is said to be.
pub(crate) async fn body(request: Request, bytes_max: usize) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    read_body(&parts.headers, body, bytes_max).await.map_err(|error| match error {
        BodyError::TooLarge(_) => ApiError::body_too_large(),
        BodyError::Broken => ApiError::bad_json(),
    })
}

/// Reads JSON of any shape, however deep it may legally nest.
pub(crate) fn parse(body: &[u8]) -> Result<Value, ApiError> {
    let text = std::str::from_utf8(body).ok().filter(|text| !dialect::depth::is_too_deep(text));
    text.and_then(|text| serde_json::from_str(text).ok()).ok_or_else(ApiError::bad_json)
}
