//! The session that a client's text means.

use model::{AgentId, ErrorKind, Noun, OpError, Session, SessionKey};
use ops::Call;

use crate::session_key::{ComisKey, GATEWAY_CHANNEL, RPC_USER, WEB_USER, canonical};

pub(super) fn default_agent(call: &Call) -> AgentId {
    call.services.agents.default_agent().id.clone()
}

/// Every key that a client's text may mean, the likeliest first.
pub(super) fn candidates(text: &str, agent: &AgentId) -> Vec<SessionKey> {
    let mut keys: Vec<SessionKey> = canonical(text).into_iter().collect();
    keys.extend(ComisKey::parse(text).and_then(|key| key.session(agent).ok()));
    if text == GATEWAY_CHANNEL {
        keys.push(SessionKey::main(agent));
    }
    keys.extend(
        [WEB_USER, RPC_USER].into_iter().filter_map(|user| ComisKey::of_channel(user, text).session(agent).ok()),
    );
    keys
}

/// The session that a client's text means.
pub(super) async fn find(call: &Call, text: &str) -> Result<Session, OpError> {
    for key in candidates(text, &default_agent(call)) {
        if let Some(session) = call.services.sessions.get(&key).await? {
            return Ok(session);
        }
    }
    Err(not_found(text))
}

pub(super) fn not_found(text: &str) -> OpError {
    let shown: String = text.chars().take(200).collect();
    OpError::new(ErrorKind::NotFound(Noun::Session), format!("Session not found: {shown}"))
}
