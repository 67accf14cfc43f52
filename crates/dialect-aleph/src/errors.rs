//! Error kinds to the codes of the published Aleph API.

use bytes::Bytes;
use model::{ErrorKind, Noun, OpError};
use serde_json::{Map, Value, json};

pub const PARSE_ERROR: i32 = -32700;
pub const INVALID_REQUEST: i32 = -32600;
pub const METHOD_NOT_FOUND: i32 = -32601;
pub const AUTH_REQUIRED: i32 = -32000;
pub const AUTH_FAILED: i32 = -32001;
pub const PERMISSION_DENIED: i32 = -32002;
pub const RATE_LIMITED: i32 = -32003;

pub const fn code(kind: ErrorKind) -> i32 {
    match kind {
        // "Wrong state for the call" is a matter of parameters here.
        ErrorKind::InvalidParams | ErrorKind::Conflict => -32602,
        ErrorKind::Internal => -32603,
        ErrorKind::Unauthenticated => AUTH_FAILED,
        ErrorKind::Denied => PERMISSION_DENIED,
        ErrorKind::RateLimited | ErrorKind::Busy | ErrorKind::Unavailable => RATE_LIMITED,
        ErrorKind::NotFound(_) => -32004,
        ErrorKind::Timeout => -32005,
        ErrorKind::ToolFailed | ErrorKind::ProviderFailed | ErrorKind::ProviderRefused => -32006,
    }
}

const fn noun(noun: Noun) -> &'static str {
    match noun {
        Noun::Agent => "agent",
        Noun::ConfigSection => "config_section",
        Noun::Device => "device",
        Noun::Model => "model",
        Noun::Provider => "provider",
        Noun::Run => "run",
        Noun::Session => "session",
        Noun::Token => "token",
    }
}

/// An error of our own as a JSON-RPC error object.
pub fn of(error: &OpError) -> Value {
    let mut data = match &error.details {
        Some(Value::Object(details)) => details.clone(),
        _ => Map::new(),
    };
    if let Some(field) = &error.field {
        data.insert("field".into(), json!(field));
        let reason = error.message.strip_prefix(&format!("{field}: ")).unwrap_or(&error.message);
        data.insert("reason".into(), json!(reason));
    }
    if let (ErrorKind::NotFound(kind), Some(id)) = (error.kind, &error.id) {
        data.insert("kind".into(), json!(noun(kind)));
        data.insert("id".into(), json!(id));
    }
    if let Some(wait) = error.retry_after_ms {
        data.insert("retry_after_ms".into(), json!(wait));
    }
    object(code(error.kind), &error.message, if data.is_empty() { None } else { Some(Value::Object(data)) })
}

pub fn object(code: i32, message: &str, data: Option<Value>) -> Value {
    let mut error = json!({ "code": code, "message": message });
    if let Some(data) = data {
        error["data"] = data;
    }
    error
}

/// A whole error response; `id` is raw JSON.
pub fn response(id: &str, error: &Value) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
}
