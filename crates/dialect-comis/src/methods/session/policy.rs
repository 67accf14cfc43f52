//! Which agents may talk to each other, and who is talking.

use model::{AgentId, ErrorKind, Noun, OpError};
use ops::Call;

use crate::settings::AgentToAgent;

/// The agent that a caller speaks for: the one it names, or the default one.
pub(super) fn caller_agent(call: &Call, named: Option<&str>) -> Result<AgentId, OpError> {
    known_agent(call, named)
}

/// The agent of that name, or the default one.
pub(super) fn known_agent(call: &Call, named: Option<&str>) -> Result<AgentId, OpError> {
    crate::agent(&call.services, named).map_err(|words| OpError::new(ErrorKind::NotFound(Noun::Agent), words))
}

/// Whether one agent may give work or words to the other.
pub(super) fn check(policy: &AgentToAgent, from: &AgentId, to: &AgentId) -> Result<(), OpError> {
    if !policy.enabled {
        return Err(OpError::denied("Agent-to-agent messaging is disabled by policy"));
    }
    let allowed = &policy.allow_agents;
    let is_listed = |agent: &AgentId| allowed.iter().any(|name| name == agent.as_str());
    if from == to || allowed.is_empty() {
        return Ok(());
    }
    match [from, to].into_iter().find(|agent| !is_listed(agent)) {
        Some(agent) => Err(OpError::denied(format!("Agent-to-agent messaging is not allowed for agent: {agent}"))),
        None => Ok(()),
    }
}
