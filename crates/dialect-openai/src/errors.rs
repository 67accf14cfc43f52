//! Refusals and failures in the words of the OpenAI API: `{"error": {message, type, param, code}}`.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::{ErrorKind, OpError};
use providers::{ProviderError, ProviderErrorKind};
use schemars::JsonSchema;
use serde::Serialize;

/// What a stream says before its `[DONE]` when its answer failed after it had begun.
pub(crate) const FAILED_EVENT: &[u8] =
    br#"data: {"error":{"message":"Internal server error","type":"server_error","param":null,"code":null}}

"#;

/// Why a request was refused or failed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// The words of a refusal.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorDetail {
    pub message: String,
    /// `invalid_request_error`, `authentication_error`, `permission_error`, `not_found_error`,
    /// `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field at fault, when there is one.
    pub param: Option<String>,
    pub code: Option<&'static str>,
}

/// A refusal with its status. The type of the error follows from the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    pub message: String,
    pub param: Option<String>,
    pub code: Option<&'static str>,
    pub retry_after: Option<Duration>,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None, retry_after: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn bad_json() -> Self {
        Self::bad_request("Invalid JSON body")
    }

    pub fn body_too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large")
    }

    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized")
    }

    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Insufficient scope")
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub fn model_not_found(model: &str) -> Self {
        Self::not_found(format!("Model not found: {model}"))
    }

    /// Says nothing of the cause; whoever makes it has logged it.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
    }

    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            400 | 413 => "invalid_request_error",
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            _ => "server_error",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = self.kind();
        let detail = ErrorDetail { message: self.message, kind, param: self.param, code: self.code };
        let mut response = json_response(self.status, &ErrorBody { error: detail });
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<OpError> for ApiError {
    fn from(error: OpError) -> Self {
        let status = match error.kind {
            ErrorKind::InvalidParams | ErrorKind::Conflict => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound(_) => StatusCode::NOT_FOUND,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Denied => StatusCode::FORBIDDEN,
            ErrorKind::RateLimited | ErrorKind::Busy => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Timeout
            | ErrorKind::ToolFailed
            | ErrorKind::ProviderFailed
            | ErrorKind::ProviderRefused
            | ErrorKind::Internal => {
                tracing::error!(%error, cause = ?std::error::Error::source(&error), "a completion failed");
                return Self::internal();
            }
        };
        let retry_after = error.retry_after_ms.map(Duration::from_millis);
        Self { retry_after, param: error.field, ..Self::new(status, error.message) }
    }
}

impl From<ProviderError> for ApiError {
    /// The vendor's own status where it gave one of refusal, so that clients act as if they had
    /// asked it themselves.
    fn from(error: ProviderError) -> Self {
        let told = error.status.filter(|status| (400..600).contains(status));
        let status = told.unwrap_or(match error.kind {
            ProviderErrorKind::BadRequest | ProviderErrorKind::ContextTooLong | ProviderErrorKind::Unsupported => 400,
            ProviderErrorKind::Auth => 401,
            ProviderErrorKind::ModelNotFound => 404,
            ProviderErrorKind::RateLimited => 429,
            ProviderErrorKind::Overloaded => 503,
            ProviderErrorKind::Unreachable | ProviderErrorKind::Cut | ProviderErrorKind::Malformed => 502,
            ProviderErrorKind::Timeout => 504,
        });
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        tracing::warn!(provider = %error.provider, kind = ?error.kind, status = status.as_u16(), "a provider did not answer");
        let code = (error.kind == ProviderErrorKind::ContextTooLong).then_some("context_length_exceeded");
        Self { code, retry_after: error.retry_after, ..Self::new(status, error.to_string()) }
    }
}

/// A JSON body with a status.
pub(crate) fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => json_bytes(status, body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub(crate) fn json_bytes(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_follows_from_the_status() {
        let kinds = [400, 401, 403, 404, 413, 429, 500, 502, 529].map(|status| {
            let error = ApiError::new(StatusCode::from_u16(status).unwrap(), "x");
            error.kind()
        });
        let (invalid, server) = ("invalid_request_error", "server_error");
        let expected = [
            invalid,
            "authentication_error",
            "permission_error",
            "not_found_error",
            invalid,
            "rate_limit_error",
            server,
            server,
            server,
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_vendors_status_and_wait_reach_the_client() {
        let error = ProviderError {
            status: Some(529),
            retry_after: Some(Duration::from_millis(1500)),
            ..ProviderError::new("p", ProviderErrorKind::Overloaded, "overloaded")
        };
        let response = ApiError::from(error).into_response();
        assert_eq!((response.status().as_u16(), response.headers()[RETRY_AFTER].to_str().unwrap()), (529, "2"));
        let redirect =
            ProviderError { status: Some(301), ..ProviderError::new("p", ProviderErrorKind::BadRequest, "moved") };
        assert_eq!(ApiError::from(redirect).status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn internal_failures_say_nothing_of_their_cause() {
        let error = ApiError::from(OpError::internal(std::io::Error::other("the password is x")));
        assert_eq!(error, ApiError::internal());
    }
}
