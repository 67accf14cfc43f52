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

use model::{AgentId, ErrorKind, Noun, OpError, Run, RunId, SessionKey, Thinking};
use ops::Call;
use schemars::JsonSchema;
use serde::Deserialize;
use services::runs::{Accepted, NewRun};

use crate::link::{Joined, Link};

/// What stands where only administrators see a path.
pub const HIDDEN: &str = "[redacted]";

/// Of a session's label.
const LABEL_CHARS_MAX: usize = 64;

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

/// A session's label; at most 64 characters.
pub fn check_label(label: Option<&str>) -> Result<(), OpError> {
    match label {
        Some(label) if label.chars().count() > LABEL_CHARS_MAX => {
            Err(OpError::invalid("label", format!("must NOT have more than {LABEL_CHARS_MAX} characters")))
        }
        _ => Ok(()),
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

/// Idempotency keys of `chat.send` and of `agent` are told apart: each method has a space of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySpace {
    Chat,
    Agent,
}

impl KeySpace {
    /// Where a run says that it came from; stored with it, so that the spaces outlast a restart.
    const fn origin(self) -> &'static str {
        match self {
            KeySpace::Chat => "argent",
            KeySpace::Agent => "argent.agent",
        }
    }

    /// The ids that the run of a key may have: the key itself, and when another space has taken
    /// that, the key with its space before it.
    pub fn run_ids(self, key: &RunId) -> impl Iterator<Item = RunId> {
        let space = match self {
            KeySpace::Chat => "chat",
            KeySpace::Agent => "agent",
        };
        std::iter::once(key.clone()).chain(RunId::parse(&format!("{space}:{key}")).ok())
    }

    /// Whether a run that was accepted before under one of these ids is the one that the key means.
    /// A key of this space belongs to the session that it was used for first.
    fn owns(self, run: &Run, session: &SessionKey) -> Result<bool, OpError> {
        if run.origin != self.origin() {
            return Ok(false);
        }
        if run.session_key == *session { Ok(true) } else { Err(taken(run.id.as_str())) }
    }

    /// Accepts a message; `None` when its id is that of a run which another method accepted.
    pub async fn accept(self, call: &Call, new: NewRun) -> Result<Option<Accepted>, OpError> {
        let (id, session) = (new.id.clone(), new.session.clone());
        match call.services.runs.accept(&call.principal, new).await {
            Ok(accepted) if !accepted.duplicate || self.owns(&accepted.run, &session)? => Ok(Some(accepted)),
            Ok(_) => Ok(None),
            Err(error) if error.kind == ErrorKind::Conflict => {
                let known = match &id {
                    Some(id) => call.services.runs.get(id).await?,
                    None => None,
                };
                match known {
                    Some(run) if !self.owns(&run, &session)? => Ok(None),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    pub fn new_run(self, session: SessionKey, content: model::Content) -> NewRun {
        NewRun::new(session, content, self.origin())
    }
}

/// The key belongs to a call about another session, which is not named: it may be none of the
/// caller's business.
pub fn taken(key: &str) -> OpError {
    let key: String = key.chars().take(64).collect();
    OpError::conflict(format!("idempotencyKey \"{key}\" was used for another session"))
}

/// The key and the id of its space both belong to others.
pub fn exhausted(key: &RunId) -> OpError {
    OpError::conflict(format!("idempotencyKey \"{key}\" names a run of another method"))
}
