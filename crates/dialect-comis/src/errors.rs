//! How failures are worded: `{"error": …}` on routes, JSON-RPC errors on sockets and `/rpc`.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::{ErrorKind, OpError};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

pub(crate) const PARSE_ERROR: i64 = -32700;
pub(crate) const INVALID_REQUEST: i64 = -32600;
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
pub(crate) const INVALID_PARAMS: i64 = -32602;
pub(crate) const FAILED: i64 = -32603;
pub(crate) const LIMITED: i64 = -32000;
pub(crate) const REFUSED: i64 = -32001;

/// Why a route refused or failed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorBody {
    pub error: String,
}

/// A JSON body with a status.
pub(crate) fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub(crate) fn refusal(status: StatusCode, words: impl Into<String>) -> Response {
    json_response(status, &ErrorBody { error: words.into() })
}

/// What every unknown path answers.
pub fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "Not Found")
}

pub(crate) fn internal() -> Response {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal error")
}

/// The answer of a route to a failure that it has no words of its own for.
pub(crate) fn response(error: &OpError) -> Response {
    let status = match error.kind {
        ErrorKind::InvalidParams => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound(_) => StatusCode::NOT_FOUND,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Busy | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::ToolFailed | ErrorKind::ProviderFailed | ErrorKind::ProviderRefused | ErrorKind::Internal => {
            log(error);
            return internal();
        }
    };
    let mut response = refusal(status, error.message.as_str());
    if let Some(ms) = error.retry_after_ms {
        response.headers_mut().insert(RETRY_AFTER, ms.div_ceil(1000).into());
    }
    response
}

/// The code and the words of a method's failure.
pub(crate) fn code(kind: ErrorKind) -> i64 {
    match kind {
        ErrorKind::InvalidParams => INVALID_PARAMS,
        ErrorKind::RateLimited => LIMITED,
        ErrorKind::Unauthenticated => REFUSED,
        ErrorKind::NotFound(_)
        | ErrorKind::Denied
        | ErrorKind::Conflict
        | ErrorKind::Busy
        | ErrorKind::Timeout
        | ErrorKind::ToolFailed
        | ErrorKind::ProviderFailed
        | ErrorKind::ProviderRefused
        | ErrorKind::Unavailable
        | ErrorKind::Internal => FAILED,
    }
}

pub(crate) fn words(error: &OpError) -> &str {
    if error.kind == ErrorKind::Internal {
        log(error);
        "Internal error"
    } else {
        &error.message
    }
}

fn log(error: &OpError) {
    tracing::error!(%error, cause = ?std::error::Error::source(error), "a request failed");
}

/// A JSON-RPC error; `id` is JSON text, byte for byte as it came.
pub(crate) fn rpc_error(code: i64, message: &str, data: Option<serde_json::Value>, id: &str) -> Vec<u8> {
    let mut error = json!({ "code": code, "message": message });
    if let Some(data) = data {
        error["data"] = data;
    }
    format!(r#"{{"jsonrpc":"2.0","error":{error},"id":{id}}}"#).into_bytes()
}

/// A JSON-RPC error as the body of an HTTP refusal.
pub(crate) fn rpc_refusal(status: StatusCode, code: i64, message: &str) -> Response {
    let body = rpc_error(code, message, None, "null");
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
