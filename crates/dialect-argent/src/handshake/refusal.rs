//! Why a connection is not let in: the answer, and how the socket is closed.

use serde_json::{Value, json};

use super::versions::{PROTOCOL_MAX, PROTOCOL_MIN};
use crate::errors::{AUTH_FAILED, INVALID_REQUEST, WireError};

#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub error: WireError,
    pub close_code: u16,
    pub close_reason: String,
    /// Counts against the peer's address.
    pub is_failed_attempt: bool,
}

impl Refusal {
    pub fn new(error: WireError) -> Self {
        Self { close_code: 1008, close_reason: error.message.clone(), error, is_failed_attempt: false }
    }

    pub fn closing(mut self, code: u16, reason: &str) -> Self {
        self.close_code = code;
        reason.clone_into(&mut self.close_reason);
        self
    }

    /// A precondition that has nothing to do with credentials.
    pub fn plain(message: &str) -> Self {
        Self::new(WireError::new("INVALID_REQUEST", INVALID_REQUEST, None, message))
    }

    /// Wrong, missing or exhausted credentials: `unauthorized: <text>`.
    pub fn unauthorized(text: &str, code: &'static str, reason: &str, next_step: &str) -> Self {
        let error = WireError::new("INVALID_REQUEST", AUTH_FAILED, Some(code), format!("unauthorized: {text}"))
            .with("authReason", reason)
            .with("canRetryWithDeviceToken", next_step == "retry_with_device_token")
            .with("recommendedNextStep", next_step);
        Self { is_failed_attempt: true, ..Self::new(error) }
    }

    /// The device's proof does not hold.
    pub fn device(message: &str, code: &'static str, reason: &str) -> Self {
        let error = WireError::new("INVALID_REQUEST", AUTH_FAILED, Some(code), message).with("reason", reason);
        Self { is_failed_attempt: true, ..Self::new(error) }
    }

    pub fn device_required() -> Self {
        let error =
            WireError::new("NOT_PAIRED", AUTH_FAILED, Some("DEVICE_IDENTITY_REQUIRED"), "device identity required");
        Self::new(error)
    }

    pub fn control_ui(message: &str, code: &'static str) -> Self {
        Self::new(WireError::new("INVALID_REQUEST", AUTH_FAILED, Some(code), message))
    }

    pub fn protocol_mismatch(min: i64, max: i64) -> Self {
        let error = WireError::new("INVALID_REQUEST", INVALID_REQUEST, Some("PROTOCOL_MISMATCH"), "protocol mismatch")
            .with("expectedProtocol", PROTOCOL_MAX)
            .with("minProtocol", PROTOCOL_MIN)
            .with("clientMinProtocol", min)
            .with("clientMaxProtocol", max);
        Self::new(error).closing(1002, "protocol mismatch")
    }

    pub fn stopping() -> Self {
        let error = WireError::new(
            "UNAVAILABLE",
            crate::errors::INTERNAL,
            Some("UNAVAILABLE"),
            "gateway stopping; reconnect shortly",
        )
        .retry(Some(1000))
        .with("reason", "gateway stopping");
        Self::new(error).closing(1012, "service restart")
    }

    /// The device has to wait for an operator. The reason of the close names the request, too:
    /// clients read it there.
    pub fn pairing(requirement: &str, request_id: &str, details: Value) -> Self {
        let message = format!("pairing required: {requirement}");
        let mut error = WireError::new("NOT_PAIRED", AUTH_FAILED, Some("PAIRING_REQUIRED"), message.clone());
        if let Value::Object(details) = details {
            error.details = details;
        }
        let error = error.with("requestId", request_id).with("recommendedNextStep", "wait_then_retry");
        Self::new(error).closing(1008, &format!("{message} (requestId: {request_id})"))
    }
}

/// One sentence on how to mend it.
pub fn remedy(request_id: &str) -> Value {
    json!(format!("Ask an operator to approve the request {request_id} (device.pair.approve), then connect again."))
}
