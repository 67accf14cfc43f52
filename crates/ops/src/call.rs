//! One call on its way through the gateway.

use std::sync::Arc;

use model::{OpError, Principal, SessionKey};
use services::Services;

use crate::connection::Connection;

/// Who calls, through what, and what the call may use.
#[derive(Clone)]
pub struct Call {
    pub services: Arc<Services>,
    pub principal: Arc<Principal>,
    /// Absent for calls over plain HTTP.
    pub connection: Option<Arc<dyn Connection>>,
    /// `aleph`, `comis`, `argent`, `openai`.
    pub dialect: &'static str,
}

impl Call {
    /// The connection, for operations that make no sense without one.
    pub fn require_connection(&self) -> Result<&Arc<dyn Connection>, OpError> {
        self.connection.as_ref().ok_or_else(|| OpError::conflict("this method needs a WebSocket connection"))
    }

    /// Guests see their own session and nothing else.
    pub fn allow_session(&self, key: &SessionKey) -> Result<(), OpError> {
        match &self.principal.confined_to {
            Some(own) if own != key => Err(OpError::denied(format!("session `{key}` is not yours"))),
            _ => Ok(()),
        }
    }

    /// The session a call means when it names none.
    pub fn default_session(&self) -> SessionKey {
        self.principal.confined_to.clone().unwrap_or_else(|| SessionKey::main(&self.services.agents.default_agent().id))
    }
}
