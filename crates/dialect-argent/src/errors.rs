//! Error kinds as this dialect tells them: a word for native frames, a number for the others.

use model::{ErrorKind, Noun, OpError, Scope};
use serde_json::{Map, Value, json};

use crate::scopes;

pub const PARSE_ERROR: i32 = -32700;
pub const INVALID_REQUEST: i32 = -32600;
pub const METHOD_NOT_FOUND: i32 = -32601;
pub const INVALID_PARAMS: i32 = -32602;
pub const INTERNAL: i32 = -32603;
pub const AGENT_BUSY: i32 = -32000;
pub const SESSION_NOT_FOUND: i32 = -32001;
pub const AUTH_FAILED: i32 = -32002;

/// An error on its way out, in both of its forms.
#[derive(Debug, Clone, PartialEq)]
pub struct WireError {
    /// Of native frames: `INVALID_REQUEST`, `UNAVAILABLE`, `NOT_PAIRED`, `AGENT_TIMEOUT`, `NOT_LINKED`.
    pub code: &'static str,
    pub rpc_code: i32,
    pub message: String,
    /// The finer word, `details.code`.
    pub detail: Option<&'static str>,
    pub details: Map<String, Value>,
    pub retryable: bool,
    pub retry_after_ms: Option<u64>,
    /// The outcome that comes along with some refusals.
    pub payload: Option<Value>,
}

impl WireError {
    pub fn new(code: &'static str, rpc_code: i32, detail: Option<&'static str>, message: impl Into<String>) -> Self {
        Self {
            code,
            rpc_code,
            message: message.into(),
            detail,
            details: Map::new(),
            retryable: false,
            retry_after_ms: None,
            payload: None,
        }
    }

    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new("INVALID_REQUEST", INVALID_REQUEST, None, message)
    }

    pub fn unknown_method(name: &str) -> Self {
        Self::new(
            "INVALID_REQUEST",
            METHOD_NOT_FOUND,
            Some("METHOD_NOT_FOUND"),
            format!("unknown method: {}", short(name)),
        )
    }

    pub fn unauthorized_role(role: &str) -> Self {
        Self::new("INVALID_REQUEST", AUTH_FAILED, Some("UNAUTHORIZED_ROLE"), format!("unauthorized role: {role}"))
    }

    pub fn missing_scope(scope: Scope) -> Self {
        let word = scopes::word(scope);
        let mut error =
            Self::new("INVALID_REQUEST", AUTH_FAILED, Some("MISSING_SCOPE"), format!("missing scope: {word}"));
        error.details.insert("missingScope".into(), json!(word));
        error.details.insert("requiredScopes".into(), json!([word]));
        error
    }

    pub fn invalid_params(method: &str, reasons: &str) -> Self {
        Self::new(
            "INVALID_REQUEST",
            INVALID_PARAMS,
            Some("INVALID_PARAMS"),
            format!("invalid {method} params: {reasons}"),
        )
    }

    #[must_use]
    pub fn retry(mut self, after_ms: Option<u64>) -> Self {
        self.retryable = true;
        self.retry_after_ms = after_ms;
        self
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Whether it says that the caller's credentials do not reach that far.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self.detail, Some("MISSING_SCOPE" | "UNAUTHORIZED_ROLE"))
    }

    /// The `error` of a native frame.
    pub fn native(&self) -> Value {
        let mut details = self.details();
        details.insert("rpcCode".into(), json!(self.rpc_code));
        let mut error = json!({ "code": self.code, "message": self.message, "details": details });
        self.add_retry(&mut error);
        error
    }

    /// The `error` of the other two forms.
    pub fn numeric(&self) -> Value {
        let mut data = self.details();
        data.entry("code").or_insert_with(|| json!(self.code));
        data.insert("rpcCode".into(), json!(self.rpc_code));
        let mut data = Value::Object(data);
        self.add_retry(&mut data);
        json!({ "code": self.rpc_code, "message": self.message, "data": data })
    }

    fn details(&self) -> Map<String, Value> {
        let mut details = self.details.clone();
        if let Some(detail) = self.detail {
            details.entry("code").or_insert_with(|| json!(detail));
        }
        details
    }

    fn add_retry(&self, value: &mut Value) {
        if self.retryable {
            value["retryable"] = json!(true);
        }
        if let Some(ms) = self.retry_after_ms {
            value["retryAfterMs"] = json!(ms);
        }
    }

    /// What an operation's failure is called on the wire of `method`.
    pub fn of(method: &str, error: &OpError) -> Self {
        let mut wire = base(method, error);
        wire.retry_after_ms = wire.retry_after_ms.or(error.retry_after_ms.filter(|_| wire.retryable));
        if let Some(Value::Object(details)) = &error.details {
            for (name, value) in details {
                match name.as_str() {
                    "payload" => wire.payload = Some(value.clone()),
                    "retryable" => wire.retryable = value == true,
                    "missing_scope" => {
                        if let Some(scope) = value.as_str().and_then(Scope::parse) {
                            return WireError::missing_scope(scope);
                        }
                    }
                    _ => {
                        wire.details.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        wire
    }
}

fn base(method: &str, error: &OpError) -> WireError {
    let message = error.message.as_str();
    match error.kind {
        ErrorKind::InvalidParams => WireError::invalid_params(method, &reason(error)),
        ErrorKind::NotFound(Noun::Session) => {
            WireError::new("INVALID_REQUEST", SESSION_NOT_FOUND, Some("SESSION_NOT_FOUND"), message)
        }
        ErrorKind::NotFound(Noun::Agent) => WireError::invalid_params(
            method,
            &format!("unknown agent id \"{}\"", error.id.as_deref().unwrap_or_default()),
        ),
        ErrorKind::NotFound(Noun::Model | Noun::Provider) => WireError::invalid_params(method, message),
        ErrorKind::NotFound(Noun::ConfigSection | Noun::Device | Noun::Run | Noun::Token) => {
            WireError::invalid_request(message)
        }
        ErrorKind::Unauthenticated => WireError::new("INVALID_REQUEST", AUTH_FAILED, Some("AUTH_FAILED"), message),
        ErrorKind::Denied => WireError::new("INVALID_REQUEST", AUTH_FAILED, Some("DENIED"), message),
        ErrorKind::Conflict => WireError::invalid_request(message),
        ErrorKind::RateLimited => {
            WireError::new("UNAVAILABLE", INTERNAL, Some("RATE_LIMITED"), message).retry(error.retry_after_ms)
        }
        ErrorKind::Busy => {
            WireError::new("UNAVAILABLE", AGENT_BUSY, Some("AGENT_BUSY"), format!("agent is busy: {message}"))
                .retry(Some(1000))
        }
        ErrorKind::Timeout => WireError::new("AGENT_TIMEOUT", INTERNAL, Some("AGENT_TIMEOUT"), message),
        ErrorKind::ToolFailed => {
            WireError::new("UNAVAILABLE", INTERNAL, Some("TOOL_FAILED"), message).retry(error.retry_after_ms)
        }
        ErrorKind::ProviderRefused => WireError::new("UNAVAILABLE", INTERNAL, Some("PROVIDER_REFUSED"), message),
        ErrorKind::ProviderFailed => {
            WireError::new("UNAVAILABLE", INTERNAL, Some("PROVIDER_FAILED"), message).retry(error.retry_after_ms)
        }
        ErrorKind::Unavailable => {
            WireError::new("UNAVAILABLE", INTERNAL, Some("UNAVAILABLE"), message).retry(error.retry_after_ms)
        }
        ErrorKind::Internal => WireError::new("UNAVAILABLE", INTERNAL, Some("INTERNAL"), "internal error"),
    }
}

/// The number that an error kind has in the contract.
pub fn rpc_code(kind: ErrorKind) -> i32 {
    base("", &OpError::new(kind, "")).rpc_code
}

/// A parameter error in the words that clients of this protocol know:
/// `must have required property 'x'`, or `at /a/0/b: must be string`.
fn reason(error: &OpError) -> String {
    let Some(field) = error.field.as_deref().filter(|field| !field.is_empty()) else { return error.message.clone() };
    let text = error.message.strip_prefix(field).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&error.message);
    if field == "params" && text.starts_with("must be an object") {
        return String::from("must be object");
    }
    if text == "is required" {
        let (parent, name) = field.rsplit_once('.').map_or(("", field), |(parent, name)| (parent, name));
        let at = if parent.is_empty() { String::new() } else { format!("at {}: ", pointer(parent)) };
        return format!("{at}must have required property '{name}'");
    }
    format!("at {}: {}", pointer(field), schema_words(text))
}

/// `facts[0].since` as `/facts/0/since`.
fn pointer(path: &str) -> String {
    let mut pointer = String::from("/");
    for c in path.chars() {
        match c {
            '.' | '[' => pointer.push('/'),
            ']' => {}
            c => pointer.push(c),
        }
    }
    pointer.replace("//", "/")
}

/// What the reader of parameters says, as a JSON Schema validator would put it.
fn schema_words(text: &str) -> &str {
    match text {
        "must be a string" => "must be string",
        "must be a boolean" => "must be boolean",
        "must be an array" => "must be array",
        "must be an object" => "must be object",
        "must be a number" => "must be number",
        "must be an integer" | "must be an integer of at least 0" => "must be integer",
        text if text.starts_with("must be an integer from ") => "must be integer",
        text if text.starts_with("must be one of `") => "must be equal to one of the allowed values",
        text => text,
    }
}

fn short(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests;
