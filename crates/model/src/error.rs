//! One error type for everything a caller can ask; codes belong to the dialects.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noun {
    Agent,
    ConfigSection,
    Device,
    Model,
    Provider,
    Run,
    Session,
    Token,
}

impl Noun {
    pub const fn word(self) -> &'static str {
        match self {
            Noun::Agent => "agent",
            Noun::ConfigSection => "configuration section",
            Noun::Device => "device",
            Noun::Model => "model",
            Noun::Provider => "provider",
            Noun::Run => "run",
            Noun::Session => "session",
            Noun::Token => "token",
        }
    }
}

/// The kinds of failure a caller can meet. Dialects match on every kind without a `_` arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A parameter is missing, of the wrong type or out of its bounds.
    InvalidParams,
    /// The thing named by the caller does not exist.
    NotFound(Noun),
    /// No credentials, or credentials that nobody knows.
    Unauthenticated,
    /// The credentials do not reach that far.
    Denied,
    /// The thing is in a state that does not allow the call; repeating it unchanged will not help.
    Conflict,
    /// Too many calls from this caller; `retry_after_ms` says when to come back.
    RateLimited,
    /// A bounded queue is full or the session is being changed; try again shortly.
    Busy,
    /// The operation ran out of time.
    Timeout,
    /// A tool or an engine behind the gateway failed.
    ToolFailed,
    /// The model provider failed; it may work again later.
    ProviderFailed,
    /// The model provider does not take the request: a wrong key, or nothing it can do. Asking again will not help.
    ProviderRefused,
    /// The gateway is starting, draining, or its database is away; nothing was written.
    Unavailable,
    /// A bug or an unexpected failure; the cause is in the log under the request's id.
    Internal,
}

/// Why an operation did not do what was asked.
#[derive(Debug)]
pub struct OpError {
    pub kind: ErrorKind,
    /// For the caller: names the thing and its value, never a secret.
    pub message: String,
    /// Dotted path of the parameter at fault.
    pub field: Option<String>,
    /// The id of the thing that was not found.
    pub id: Option<String>,
    pub retry_after_ms: Option<u64>,
    /// Further facts for the caller.
    pub details: Option<Value>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl OpError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), field: None, id: None, retry_after_ms: None, details: None, source: None }
    }

    pub fn invalid(field: impl Into<String>, reason: impl fmt::Display) -> Self {
        let field = field.into();
        let message = if field.is_empty() { reason.to_string() } else { format!("{field}: {reason}") };
        Self { field: Some(field), ..Self::new(ErrorKind::InvalidParams, message) }
    }

    pub fn not_found(noun: Noun, id: impl fmt::Display) -> Self {
        let id = id.to_string();
        let message = format!("{} `{id}` does not exist", noun.word());
        Self { id: Some(id), ..Self::new(ErrorKind::NotFound(noun), message) }
    }

    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    pub fn busy(message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ErrorKind::Busy, message) }
    }

    /// The caller sees only "internal error"; the source goes to the log.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..Self::new(ErrorKind::Internal, "internal error") }
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { retry_after_ms: Some(1000), ..Self::new(ErrorKind::Unavailable, message) }
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for OpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl From<std::convert::Infallible> for OpError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
