use model::{ErrorKind, ModelRef, Noun, OpError, SessionKey};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use services::runs::NewRun;
use services::settings::DmScope;

use super::attachments::{Attachment, compose};
use super::chat_send::check_steer;
use super::steer::{BusyMode, steer};
use super::{KeySpace, agent_named, at_least, check_label, exhausted, join, run_id, session_named, thinking};
use crate::keys;
use crate::link::{Link, link, second_reply};
use crate::outcome::Outcome;

/// Run one turn of an agent, with control over model, limits and session.
///
/// Answered at once with `accepted`. In native frames a second answer with the same id brings the
/// outcome when the turn is over; elsewhere `agent.wait` does. The idempotency key becomes the
/// run's id, by which events are matched; `agent:<key>` when `chat.send` has a run of that name. A
/// repeat gets the acceptance again and its own outcome; a key of another session is refused.
#[derive(JsonSchema)]
pub struct Agent;

pub const ERRORS: &[ErrorKind] = &[
    ErrorKind::NotFound(Noun::Agent),
    ErrorKind::NotFound(Noun::Model),
    ErrorKind::Busy,
    ErrorKind::Conflict,
    ErrorKind::Timeout,
    ErrorKind::ProviderFailed,
    ErrorKind::Unavailable,
];

/// Names of channels that a client may mean; replies go to none of them while none is configured.
const CHANNELS: [&str; 14] = [
    "last",
    "webchat",
    "internal",
    "telegram",
    "whatsapp",
    "discord",
    "slack",
    "signal",
    "imessage",
    "msteams",
    "googlechat",
    "matrix",
    "mattermost",
    "line",
];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "fields about delivery are checked for their types: no channel is there to deliver to")]
pub struct Params {
    message: String,
    #[serde(default)]
    idempotency_key: Option<String>,
    #[serde(default)]
    agent_id: Option<String>,
    /// Absent = the agent's main session, or that of `to`.
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    key: Option<String>,
    /// A hint, never an error.
    #[serde(default)]
    session_id: Option<String>,
    /// A peer; names the session when nothing else does.
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    reply_to: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    reply_channel: Option<String>,
    #[serde(default)]
    account_id: Option<String>,
    #[serde(default)]
    reply_account_id: Option<String>,
    #[serde(default)]
    thread_id: Option<String>,
    #[serde(default)]
    group_id: Option<String>,
    #[serde(default)]
    group_channel: Option<String>,
    #[serde(default)]
    group_space: Option<String>,
    #[serde(default)]
    deliver: bool,
    #[serde(default)]
    best_effort_deliver: bool,
    #[serde(default)]
    busy_mode: BusyMode,
    #[serde(default)]
    thinking: Option<String>,
    /// For this turn: `provider/model`, or a model's id beside `provider` or alone.
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    provider: Option<String>,
    /// Seconds; 0 = no limit.
    #[serde(default)]
    timeout: Option<i64>,
    #[serde(default)]
    lane: Option<String>,
    #[serde(default)]
    attachments: Vec<Attachment>,
    #[serde(default)]
    extra_system_prompt: Option<String>,
    /// Stored on the session; at most 64 characters.
    #[serde(default)]
    label: Option<String>,
    /// The session that this one was made by.
    #[serde(default)]
    spawned_by: Option<String>,
    #[serde(default)]
    silent: bool,
}

/// The first answer; `summary` and `result` come with the outcome.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    run_id: String,
    /// `accepted`, `ok`, `steered`, `not_active` or `not_steerable`.
    status: String,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
}

pub async fn run(call: Call, params: Params) -> Result<Reply<Output>, OpError> {
    let link = link(&call)?;
    if params.message.is_empty() {
        return Err(OpError::invalid("message", "must NOT have fewer than 1 characters"));
    }
    let channels = [&params.channel, &params.reply_channel].into_iter().flatten();
    if let Some(unknown) =
        channels.filter(|name| !name.is_empty()).find(|name| !CHANNELS.contains(&name.to_ascii_lowercase().as_str()))
    {
        return Err(OpError::invalid("", format!("unknown channel: {unknown}")));
    }
    let session = session(&call, link, &params)?;
    let id = run_id(&call, params.idempotency_key.as_deref())?;
    let timeout = at_least("timeout", params.timeout, 0)?;
    let level = thinking(params.thinking.as_deref())?;
    let model = model(&call, params.model.as_deref(), params.provider.as_deref()).await?;
    let composed = compose(&params.message, &params.attachments)?;
    if params.busy_mode == BusyMode::Steer {
        check_steer(&params.message, composed.has_files)?;
        let steered = steer(&call, &session, &params.message).await?;
        let status = steered.status().to_owned();
        return Ok(
            Output { run_id: id.to_string(), status, target_run_id: steered.target(), ..Output::default() }.into()
        );
    }
    configure(&call, link, &session, params.label, params.spawned_by.as_deref()).await?;
    let mut new = KeySpace::Agent.new_run(session, composed.content);
    new.options.limits.time_ms = timeout.map(|seconds| seconds.saturating_mul(1000));
    new.options.thinking = level;
    new.options.model = model;
    new.options.extra_system = params.extra_system_prompt.filter(|text| !text.trim().is_empty());
    for run in KeySpace::Agent.run_ids(&id) {
        if let Some(reply) = start(&call, link, NewRun { id: Some(run), ..new.clone() }).await? {
            return Ok(reply);
        }
    }
    Err(exhausted(&id))
}

fn session(call: &Call, link: &Link, params: &Params) -> Result<SessionKey, OpError> {
    let written = params.session_key.as_deref().or(params.key.as_deref()).filter(|key| !key.trim().is_empty());
    let agent_id = params.agent_id.as_deref();
    match params.to.as_deref().filter(|to| written.is_none() && agent_id.is_none() && !to.trim().is_empty()) {
        None => session_named(call, link, written, agent_id, "sessionKey"),
        Some(to) => {
            let agent = agent_named(call, None)?;
            let to = to.trim();
            let rest = match (call.services.sessions.rules().dm_scope, params.channel.as_deref()) {
                (DmScope::Main, _) => String::from(keys::MAIN),
                (DmScope::PerChannelPeer, Some(channel)) => format!("{channel}:dm:{to}"),
                (DmScope::PerPeer | DmScope::PerChannelPeer, _) => format!("dm:{to}"),
            };
            keys::canonical(&rest, &agent, "to")
        }
    }
}

async fn model(call: &Call, model: Option<&str>, provider: Option<&str>) -> Result<Option<ModelRef>, OpError> {
    let filled = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    match (filled(model), filled(provider)) {
        (None, _) => Ok(None),
        (Some(model), Some(provider)) => {
            let id = model.strip_prefix(&format!("{provider}/")).unwrap_or(&model).to_owned();
            let reference = ModelRef::new(provider, id);
            call.services.models.require(&reference)?;
            Ok(Some(reference))
        }
        (Some(model), None) => match model.parse::<ModelRef>() {
            Ok(reference) if call.services.models.require(&reference).is_ok() => Ok(Some(reference)),
            _ => Ok(Some(call.services.models.get(&model).await?.reference)),
        },
    }
}

/// Stores what the call says about the session, which is made when it is missing.
async fn configure(
    call: &Call,
    link: &Link,
    session: &SessionKey,
    label: Option<String>,
    parent: Option<&str>,
) -> Result<(), OpError> {
    check_label(label.as_deref())?;
    let parent = match parent {
        Some(text) => Some(link.key(text, &call.services.agents.default_agent().id, "spawnedBy")?),
        None => None,
    };
    if label.is_none() && parent.is_none() {
        return Ok(());
    }
    call.services
        .sessions
        .configure(session, move |settings| {
            settings.label = label.or(settings.label.take());
            settings.spawned_by = settings.spawned_by.take().or(parent);
        })
        .await?;
    Ok(())
}

/// `None` when the id is that of a run which another method accepted.
async fn start(call: &Call, link: &Link, new: NewRun) -> Result<Option<Reply<Output>>, OpError> {
    let second = second_reply(call);
    if let (Some(reply), Some(id)) = (second, &new.id) {
        link.await_end(id, reply)?;
    }
    let accepted = accept(call, link, new).await;
    if !matches!(&accepted, Ok(Some(reply)) if reply.output.status == "accepted")
        && let Some(reply) = second
    {
        link.await_no_more(reply);
    }
    accepted
}

async fn accept(call: &Call, link: &Link, new: NewRun) -> Result<Option<Reply<Output>>, OpError> {
    let Some(accepted) = KeySpace::Agent.accept(call, new).await? else { return Ok(None) };
    let run = &accepted.run;
    if let Some(outcome) = Outcome::of_run(run) {
        let told = outcome.agent_answer(run.session_id.as_str())?;
        let result = told.get("result").cloned();
        let summary = Some(String::from("completed"));
        let status = String::from("ok");
        return Ok(Some(Output { run_id: run.id.to_string(), status, summary, result, ..Output::default() }.into()));
    }
    join(call, link, &run.id, &run.session_key).await?;
    if let Some(reply) = second_reply(call) {
        link.awaits_in(reply, run.session_id.as_str());
    }
    let output = Output {
        run_id: run.id.to_string(),
        status: String::from("accepted"),
        accepted_at: Some(run.accepted_at.as_ms()),
        session_key: Some(keys::spell(&run.session_key).into_owned()),
        agent_id: Some(run.agent_id.to_string()),
        ..Output::default()
    };
    Ok(Some(match accepted.start {
        Some(start) => Reply::followed_by(output, move || start.start()),
        None => output.into(),
    }))
}
