use model::{AgentId, ErrorKind, ModelRef, Noun, OpError, RunId, RunOptions, RunState, Scope, SessionKey, Thinking};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::runs::{Accepted, NewRun};
use services::settings::DmScope;

use crate::text::{Attachment, content_with};
use crate::{Call, Class, Operation, Reply};

/// Give an agent a message and start a turn.
///
/// Answers as soon as the message is written down; the turn's text, tools and end follow as
/// events. One turn runs at a time in a session: a message to a busy session waits and is answered
/// with `pending`.
#[derive(JsonSchema)]
pub struct AgentRun;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Params {
    /// 1 to 262 144 characters.
    #[serde(alias = "input")]
    pub message: String,
    /// `agent:<agent>:<rest>`; without it `channel` and `peer_id` decide, else `agent:main:main`.
    #[serde(default)]
    pub session_key: Option<String>,
    #[serde(default)]
    pub thinking: Option<Thinking>,
    /// `provider/model`; its provider must be configured.
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// `false` leaves out the `stream.*` events of this run.
    #[serde(default = "default_true")]
    pub stream: bool,
    #[serde(default)]
    pub channel: Option<String>,
    #[serde(default)]
    pub peer_id: Option<String>,
    /// Becomes the run's id; a second message with the same id is not accepted again.
    #[serde(default)]
    pub idempotency_key: Option<RunId>,
}

/// A model of which it is not known yet whether there is one.
fn model_named(name: &str) -> Result<ModelRef, OpError> {
    name.parse().map_err(|_| OpError::not_found(Noun::Model, name))
}

pub(crate) const fn default_true() -> bool {
    true
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub run_id: RunId,
    /// `running`, or `pending` behind another run of the session.
    pub status: &'static str,
    pub session_key: SessionKey,
    /// RFC 3339, UTC.
    pub accepted_at: String,
}

impl Operation for AgentRun {
    const NAME: &'static str = "agent.run";
    const SCOPE: Option<Scope> = Some(Scope::Write);
    const CLASS: Class = Class::Heavy;
    const ERRORS: &'static [ErrorKind] = &[
        ErrorKind::NotFound(Noun::Agent),
        ErrorKind::NotFound(Noun::Model),
        ErrorKind::Busy,
        ErrorKind::Denied,
        ErrorKind::Unavailable,
    ];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let session =
            session_of(call, params.session_key.as_deref(), params.channel.as_deref(), params.peer_id.as_deref())?;
        let new = NewRun {
            id: params.idempotency_key,
            options: RunOptions {
                model: params.model.as_deref().map(model_named).transpose()?,
                thinking: params.thinking,
                quiet: !params.stream,
                ..RunOptions::default()
            },
            ..NewRun::new(session, content_with(params.message.trim(), &params.attachments)?, call.dialect)
        };
        let accepted = call.services.runs.accept(&call.principal, new).await?;
        Ok(answer(call, accepted))
    }
}

pub(crate) fn answer(call: &Call, accepted: Accepted) -> Reply<Output> {
    let Accepted { run, pending, start, .. } = accepted;
    if let Some(connection) = &call.connection {
        connection.started(&run.id);
    }
    let status = if pending || (start.is_none() && run.state == RunState::Pending) { "pending" } else { "running" };
    let output = Output { run_id: run.id, status, session_key: run.session_key, accepted_at: run.accepted_at.to_iso() };
    match start {
        Some(start) => Reply::followed_by(output, move || start.start()),
        None => output.into(),
    }
}

/// The session that a call means: the key it names, else one made of channel and peer, else the
/// caller's default.
pub(crate) fn session_of(
    call: &Call,
    key: Option<&str>,
    channel: Option<&str>,
    peer: Option<&str>,
) -> Result<SessionKey, OpError> {
    match key {
        Some("default") => Ok(call.default_session()),
        Some(text) => SessionKey::parse(text).map_err(|error| OpError::invalid("session_key", error)),
        None => match peer {
            Some(peer) => direct_session(call, channel, peer),
            None => Ok(call.default_session()),
        },
    }
}

fn direct_session(call: &Call, channel: Option<&str>, peer: &str) -> Result<SessionKey, OpError> {
    let agent: AgentId = call.default_session().agent();
    let rest = match (call.services.sessions.rules().dm_scope, channel) {
        (DmScope::Main, _) => String::from("main"),
        (DmScope::PerChannelPeer, Some(channel)) => format!("{channel}:dm:{peer}"),
        (DmScope::PerPeer | DmScope::PerChannelPeer, _) => format!("dm:{peer}"),
    };
    SessionKey::of_agent(&agent, &rest).map_err(|error| OpError::invalid("peer_id", error))
}
