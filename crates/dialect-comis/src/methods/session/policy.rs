//! Which agents may use each other, and how long they wait.

use std::time::Duration;

use model::{AgentId, ErrorKind, Noun, OpError};
use ops::Call;

use crate::settings::AgentToAgent;

/// Longest wait for an answer that a caller may ask for, in milliseconds.
const WAIT_MS_MAX: u64 = 600_000;

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

/// How long to wait for an answer: what the caller asks for, or as configured.
pub(super) fn time_limit(asked_ms: Option<u64>, policy: &AgentToAgent) -> Result<Duration, OpError> {
    match asked_ms {
        None => Ok(Duration::from_millis(policy.wait_timeout_ms.min(WAIT_MS_MAX))),
        Some(ms @ 1..=WAIT_MS_MAX) => Ok(Duration::from_millis(ms)),
        Some(_) => Err(OpError::invalid("timeout_ms", format!("must be from 1 to {WAIT_MS_MAX}"))),
    }
}
