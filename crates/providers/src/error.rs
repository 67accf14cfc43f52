//! What can go wrong at a vendor, and what to do about it.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderErrorKind {
    /// 401, 403: the key is missing, wrong or not allowed to do this.
    Auth,
    /// 400, 422 and other 4xx: the request itself is at fault.
    BadRequest,
    /// The vendor does not have this model.
    ModelNotFound,
    /// The conversation is longer than the model's window.
    ContextTooLong,
    /// 429.
    RateLimited,
    /// 5xx.
    Overloaded,
    /// No connection: name, route, TLS.
    Unreachable,
    /// No answer, or silence inside an answer, for longer than allowed.
    Timeout,
    /// The answer ended before it was whole.
    Cut,
    /// The answer is not what the vendor's protocol says.
    Malformed,
    /// This provider cannot do what was asked, for instance embeddings.
    Unsupported,
}

/// A vendor's refusal or failure. `message` is fit for a user and never holds a key.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{provider}: {message}")]
pub struct ProviderError {
    pub provider: String,
    pub kind: ProviderErrorKind,
    pub message: String,
    /// HTTP status, when there was one.
    pub status: Option<u16>,
    pub retry_after: Option<Duration>,
    /// The vendor's body, at most 4 KiB, for callers that speak the same protocol.
    pub body: Option<String>,
}

impl ProviderError {
    pub fn new(provider: impl Into<String>, kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self { provider: provider.into(), kind, message: message.into(), status: None, retry_after: None, body: None }
    }

    /// Worth asking again, here or at a fallback, as long as nothing of the answer was used.
    pub const fn is_transient(&self) -> bool {
        match self.kind {
            ProviderErrorKind::RateLimited
            | ProviderErrorKind::Overloaded
            | ProviderErrorKind::Unreachable
            | ProviderErrorKind::Timeout
            | ProviderErrorKind::Cut
            | ProviderErrorKind::Malformed => true,
            ProviderErrorKind::Auth
            | ProviderErrorKind::BadRequest
            | ProviderErrorKind::ModelNotFound
            | ProviderErrorKind::ContextTooLong
            | ProviderErrorKind::Unsupported => false,
        }
    }
}
