//! Sessions: list, read, shorten, delete.

pub mod compact;
pub mod delete;
pub mod history;
pub mod list;

use model::{OpError, SessionKey};

/// A key from outside, as a parameter named `session_key`.
pub(crate) fn parse_key(text: &str) -> Result<SessionKey, OpError> {
    SessionKey::parse(text).map_err(|error| OpError::invalid("session_key", error))
}
