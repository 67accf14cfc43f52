//! A failure found while reading an answer, before it is known whose answer it was.

use serde::de::DeserializeOwned;

use crate::error::{ProviderError, ProviderErrorKind};

/// A [`ProviderError`] without the provider's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: ProviderErrorKind,
    pub message: String,
    pub status: Option<u16>,
    /// The vendor's own words for it, at most 4 KiB.
    pub body: Option<String>,
}

impl Fault {
    pub fn new(kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: None, body: None }
    }

    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(ProviderErrorKind::Malformed, message)
    }

    pub fn cut(message: impl Into<String>) -> Self {
        Self::new(ProviderErrorKind::Cut, message)
    }

    pub fn into_error(self, provider: &str) -> ProviderError {
        let Self { kind, message, status, body } = self;
        ProviderError { status, body, ..ProviderError::new(provider, kind, message) }
    }
}

/// Reads JSON. The message of the fault says where it breaks, never what stands there: that may be
/// a user's text.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(&error, what))
}

pub(crate) fn unreadable(error: &serde_json::Error, what: &str) -> Fault {
    let class = match error.classify() {
        serde_json::error::Category::Data => "not of the documented shape",
        serde_json::error::Category::Eof => "cut short",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "not JSON",
    };
    Fault::malformed(format!("{what} is {class} at line {}, column {}", error.line(), error.column()))
}
