//! The methods: one file for each, or for each domain of small ones.

pub mod agent;
pub mod agent_wait;
pub mod agents;
pub mod attachments;
pub mod channels;
pub mod chat_abort;
pub mod chat_history;
pub mod chat_send;
pub mod commands;
pub mod config;
pub mod devices;
pub mod follow;
pub mod gateway;
pub mod models;
pub mod sessions_change;
pub mod sessions_list;
pub mod sessions_preview;
pub mod startup;
pub mod steer;

use model::{AgentId, Noun, OpError, RunId, SessionKey, Thinking};
use ops::Call;
use schemars::JsonSchema;
use serde::Deserialize;
use services::runs::NewRun;

use crate::link::{Joined, Link};

/// What stands where only administrators see a path.
pub const HIDDEN: &str = "[redacted]";

/// A method without parameters.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct NoParams {}

/// The agent that a call names, else the default one. Unknown names are errors.
pub fn agent_named(call: &Call, agent_id: Option<&str>) -> Result<AgentId, OpError> {
    let agents = &call.services.agents;
    match agent_id {
        None => Ok(agents.default_agent().id.clone()),
        Some(text) => {
            let known = AgentId::parse(text).ok().filter(|id| agents.get(id).is_some());
            known.ok_or_else(|| OpError::not_found(Noun::Agent, text))
        }
    }
}

/// The session that a call means: the key it writes, read for the agent it names, else that
/// agent's main session.
pub fn session_named(
    call: &Call,
    link: &Link,
    written: Option<&str>,
    agent_id: Option<&str>,
    field: &str,
) -> Result<SessionKey, OpError> {
    let agent = agent_named(call, agent_id)?;
    let Some(text) = written else { return Ok(SessionKey::main(&agent)) };
    let key = link.key(text, &agent, field)?;
    if agent_id.is_some() && key.agent() != agent {
        let reason = format!("agent \"{agent}\" does not match session key agent \"{}\"", key.agent());
        return Err(OpError::invalid("", reason));
    }
    Ok(key)
}

/// A number within bounds; the words are those of a schema validator.
pub fn at_least(field: &str, value: Option<i64>, min: i64) -> Result<Option<u64>, OpError> {
    match value {
        Some(value) if value < min => Err(OpError::invalid(field, format!("must be >= {min}"))),
        value => Ok(value.and_then(|value| u64::try_from(value).ok())),
    }
}

/// As [`at_least`], with an upper bound.
pub fn between(field: &str, value: Option<i64>, min: i64, max: i64) -> Result<Option<u64>, OpError> {
    match value {
        Some(value) if value > max => Err(OpError::invalid(field, format!("must be <= {max}"))),
        value => at_least(field, value, min),
    }
}

/// `default` leaves it to session and agent.
pub fn thinking(text: Option<&str>) -> Result<Option<Thinking>, OpError> {
    match text.map(str::trim) {
        None | Some("" | "default") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|reason: String| OpError::invalid("thinking", reason)),
    }
}

/// The run's id: the idempotency key, or one of our own.
pub fn run_id(call: &Call, key: Option<&str>) -> Result<RunId, OpError> {
    match key {
        Some(text) => RunId::parse(text).map_err(|error| OpError::invalid("idempotencyKey", error)),
        None => Ok(RunId::trusted(format!("srv-{}", call.services.ids.uuid()))),
    }
}

/// Enters the connection into a run: what it sees of it depends on the session's levels.
pub async fn join(call: &Call, link: &Link, run: &RunId, session: &SessionKey) -> Result<(), OpError> {
    let stored = call.services.sessions.get(session).await?;
    let settings = stored.map(|session| session.settings).unwrap_or_default();
    let joined = Joined {
        tools: link.wants_tools,
        results: settings.verbose.as_deref() == Some("full"),
        thinking: settings.reasoning.as_deref() == Some("stream"),
    };
    link.join(run, joined);
    Ok(())
}

pub fn new_run(session: SessionKey, content: model::Content, id: RunId) -> NewRun {
    NewRun { id: Some(id), ..NewRun::new(session, content, "argent") }
}
