use model::{Content, ErrorKind, Noun, OpError, RunId, SessionKey, StopCause};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use services::runs::{Accepted, NewRun};

use super::attachments::{Attachment, compose};
use super::steer::{BusyMode, QueueMode, steer, waits_for_user};
use super::{KeySpace, at_least, exhausted, join, run_id, session_named, taken, thinking};
use crate::events::{Audience, Frame, message};
use crate::link::{Link, link};
use crate::outcome::Outcome;

/// Send a message to a session and start a turn, queue it, or steer the one that runs.
///
/// The idempotency key becomes the run's id, or `chat:<key>` when `agent` has a run of that name;
/// a key of another session is refused. `started` is answered when the message is written
/// down, before the model is asked; the turn follows as `agent` and `chat` events. A repeat is
/// answered `in_flight`, then with the outcome, and starts nothing. Stop words stop the session;
/// a message that begins with `/` is a command, answered as a `chat` event on the same run id.
#[derive(JsonSchema)]
pub struct ChatSend;

pub const ERRORS: &[ErrorKind] = &[
    ErrorKind::NotFound(Noun::Agent),
    ErrorKind::Busy,
    ErrorKind::Conflict,
    ErrorKind::ProviderFailed,
    ErrorKind::Unavailable,
];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// Absent = the main session.
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    key: Option<String>,
    /// May be empty when there is an attachment.
    #[serde(default)]
    message: Option<String>,
    /// Short for `message`.
    #[serde(default)]
    text: Option<String>,
    /// Short for `message`.
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    idempotency_key: Option<String>,
    #[serde(default)]
    busy_mode: BusyMode,
    /// Wins over `busyMode`.
    #[serde(default)]
    queue_mode: Option<QueueMode>,
    /// `off`, `minimal`, `low`, `medium`, `high`, `xhigh` or `default`; for this turn only.
    #[serde(default)]
    thinking: Option<String>,
    /// Accepted; replies go to those who are connected.
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type")]
    deliver: bool,
    #[serde(default)]
    attachments: Vec<Attachment>,
    /// 0 = no limit.
    #[serde(default)]
    timeout_ms: Option<i64>,
    /// Accepted.
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type")]
    cli_mcp_servers: Option<Map<String, Value>>,
    /// A hint, never an error.
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type")]
    session_id: Option<String>,
    /// Must agree with the key.
    #[serde(default)]
    agent_id: Option<String>,
}

/// Of a stop word `ok`, `aborted` and `runIds`; else `runId` and `status`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// `started`, `in_flight`, `ok`, `steered`, `not_active` or `not_steerable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aborted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_ids: Option<Vec<String>>,
}

impl Output {
    fn of(run: &RunId, status: &str) -> Self {
        Self { run_id: Some(run.to_string()), status: Some(status.to_owned()), ..Self::default() }
    }
}

pub async fn run(call: Call, params: Params) -> Result<Reply<Output>, OpError> {
    let link = link(&call)?;
    let text = params.message.as_deref().or(params.text.as_deref()).or(params.content.as_deref());
    let text = text.ok_or_else(|| OpError::invalid("message", "is required"))?;
    let written = params.session_key.as_deref().or(params.key.as_deref());
    let session = session_named(&call, link, written, params.agent_id.as_deref(), "sessionKey")?;
    let id = run_id(&call, params.idempotency_key.as_deref())?;
    let time_ms = at_least("timeoutMs", params.timeout_ms, 0)?;
    let level = thinking(params.thinking.as_deref())?;
    if text.trim().is_empty() && params.attachments.is_empty() {
        return Err(OpError::conflict("message or attachment required"));
    }
    let composed = compose(text, &params.attachments)?;
    let services = &call.services;
    if !composed.has_files && services.commands.is_stop(text) {
        return stop(&call, &session).await;
    }
    let cache_key = format!("chat:{id}");
    if let Some(known) = link.argent.outcomes.get(&cache_key, services.clock.now()) {
        let (of, output): (SessionKey, Output) = serde_json::from_value(known).map_err(OpError::internal)?;
        return if of == session { Ok(output.into()) } else { Err(taken(id.as_str())) };
    }
    let remember = |output: &Output| {
        link.argent.outcomes.put(cache_key.clone(), services.clock.now(), json!((&session, output)));
    };
    if !composed.has_files
        && text.trim_start().starts_with('/')
        && let Some(output) = command(&call, link, &session, &id, text).await?
    {
        remember(&Output::of(&id, "ok"));
        return Ok(output.into());
    }
    let mode = match params.queue_mode {
        Some(QueueMode::Steer) => BusyMode::Steer,
        Some(_) => BusyMode::Cue,
        None => params.busy_mode,
    };
    if mode == BusyMode::Steer {
        check_steer(text, composed.has_files)?;
    }
    if mode == BusyMode::Steer || (!composed.has_files && waits_for_user(&call, &session).await?) {
        let steered = steer(&call, &session, text).await?;
        let output = Output { target_run_id: steered.target(), ..Output::of(&id, steered.status()) };
        remember(&output);
        return Ok(output.into());
    }
    if params.queue_mode == Some(QueueMode::Interrupt) {
        services.runs.cancel_session(&session, StopCause::User).await?;
    }
    let mut new = KeySpace::Chat.new_run(session, composed.content);
    new.options.limits.time_ms = time_ms;
    new.options.thinking = level;
    start(&call, link, new, &id).await
}

pub(super) fn check_steer(text: &str, has_files: bool) -> Result<(), OpError> {
    if has_files {
        return Err(OpError::conflict("busyMode=steer does not support image attachments"));
    }
    if text.trim().is_empty() {
        return Err(OpError::conflict("busyMode=steer requires a text message"));
    }
    Ok(())
}

async fn stop(call: &Call, session: &SessionKey) -> Result<Reply<Output>, OpError> {
    let stopped = call.services.runs.cancel_session(session, StopCause::StopCommand).await?;
    let run_ids: Vec<String> = stopped.iter().map(ToString::to_string).collect();
    Ok(Output { ok: Some(true), aborted: Some(!run_ids.is_empty()), run_ids: Some(run_ids), ..Output::default() }
        .into())
}

/// Runs a built-in command; `None` when it is not one and the message is for the agent.
async fn command(
    call: &Call,
    link: &Link,
    session: &SessionKey,
    id: &RunId,
    text: &str,
) -> Result<Option<Output>, OpError> {
    let reply = match call.services.commands.run(&call.services, session, text).await {
        Ok(Some(reply)) => reply.text,
        Ok(None) => return Ok(None),
        Err(error) => match error.kind {
            // The user's own mistake is told where the user looks.
            ErrorKind::InvalidParams | ErrorKind::NotFound(_) | ErrorKind::Conflict | ErrorKind::Busy => error.message,
            _ => return Err(error),
        },
    };
    let at = call.services.clock.now().as_ms();
    let payload = json!({
        "runId": id, "seq": 1, "state": "final", "message": message(&reply, at), "stopReason": "command", "agentId": session.agent(),
    });
    link.notify(Frame::new(Audience::Scope(model::Scope::Read), "chat", &payload).of(session));
    Ok(Some(Output::of(id, "started")))
}

/// Accepts a message under the first id of its key that is free or its own.
async fn accept(call: &Call, new: NewRun, key: &RunId) -> Result<Accepted, OpError> {
    for id in KeySpace::Chat.run_ids(key) {
        if let Some(accepted) = KeySpace::Chat.accept(call, NewRun { id: Some(id), ..new.clone() }).await? {
            return Ok(accepted);
        }
    }
    Err(exhausted(key))
}

async fn start(call: &Call, link: &Link, new: NewRun, key: &RunId) -> Result<Reply<Output>, OpError> {
    if matches!(&new.content, Content::Text(text) if text.is_empty()) {
        return Err(OpError::conflict("message or attachment required"));
    }
    let session = new.session.clone();
    let accepted = accept(call, new, key).await?;
    let run = &accepted.run;
    if accepted.duplicate {
        let Some(outcome) = Outcome::of_run(run) else {
            join(call, link, &run.id, &run.session_key).await?;
            return Ok(Output::of(&run.id, "in_flight").into());
        };
        outcome.chat_answer()?;
        return Ok(Output::of(&run.id, "ok").into());
    }
    join(call, link, &run.id, &session).await?;
    let output = Output::of(&run.id, "started");
    Ok(match accepted.start {
        Some(start) => Reply::followed_by(output, move || start.start()),
        None => output.into(),
    })
}
