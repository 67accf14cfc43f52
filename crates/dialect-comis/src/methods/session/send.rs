//! `session.send`: words of one session for another.

use std::sync::Arc;
use std::time::Duration;

use dialect::MethodTable;
use model::{AgentId, ErrorKind, Noun, OpError, Scope, SessionKey};
use ops::{Call, Class, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::letters::{self, Letter};

use super::find::{candidates, not_found};
use super::policy::{check, known_agent, time_limit};
use crate::ORIGIN;
use crate::context::Context;
use crate::settings::AgentToAgent;

pub(super) fn bind(table: &mut MethodTable, context: &Context) {
    let settings = Arc::clone(&context.settings);
    table.handle::<SessionSend, Params, Sent, _, _>(
        "session.send",
        Some(Scope::Write),
        Class::Write,
        &[
            ErrorKind::NotFound(Noun::Session),
            ErrorKind::NotFound(Noun::Agent),
            ErrorKind::Denied,
            ErrorKind::Conflict,
            ErrorKind::Busy,
            ErrorKind::Unavailable,
        ],
        move |call, params| {
            let settings = settings();
            async move { send(&call, params, &settings.agent_to_agent).await }
        },
    );
}

/// Send a message from an agent's main session to another session.
///
/// The message is written down before this answers. With `wait` the answer is waited for, with
/// `ping-pong` each answer is sent to the other of the two sessions in turn. A turn that is not over
/// in time goes on; then `response` is absent, or the answer before it.
#[derive(JsonSchema)]
struct SessionSend;

#[derive(Debug, Deserialize, JsonSchema)]
struct Params {
    /// A canonical or formatted key, or a channel, of a session that exists, or of an agent's main session.
    #[serde(alias = "key")]
    session_key: String,
    #[serde(alias = "message")]
    text: String,
    #[serde(default)]
    mode: Mode,
    /// Milliseconds to wait for answers, 1 to 600000; as configured when absent.
    #[serde(default)]
    timeout_ms: Option<u64>,
    /// Turns of a ping-pong at most, from 1; as configured when absent, and never more than that.
    #[serde(default)]
    max_turns: Option<u32>,
    /// The agent of the session, where its key names none.
    #[serde(default)]
    agent_id: Option<String>,
    /// The agent that sends; the default agent when absent.
    #[serde(default, rename = "_agentId")]
    caller_agent: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    FireAndForget,
    Wait,
    PingPong,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Sent {
    sent: bool,
    /// The last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    /// Turns of a ping-pong that came to their end.
    #[serde(skip_serializing_if = "Option::is_none")]
    turns_completed: Option<u32>,
    /// Of the turns that were waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Stats>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Stats {
    runtime_ms: u64,
    total_tokens: u64,
    /// US dollars; 0, for prices are not known to the gateway.
    total_cost: f64,
}

async fn send(call: &Call, params: Params, policy: &AgentToAgent) -> Result<Reply<Sent>, OpError> {
    let caller = known_agent(call, params.caller_agent.as_deref())?;
    let from = SessionKey::main(&caller);
    let agent = params.agent_id.as_deref().map(|name| known_agent(call, Some(name))).transpose()?;
    let to = target(call, &params.session_key, agent.as_ref()).await?;
    check(policy, &caller, &to.agent())?;
    let limit = time_limit(params.timeout_ms, policy)?;
    let reply = match params.mode {
        Mode::FireAndForget => letters::Reply::Nothing,
        Mode::Wait => letters::Reply::Answer(limit),
        Mode::PingPong => exchange(params.max_turns, policy, limit, from == to)?,
    };
    let letter = Letter { from, to, text: params.text, reply, origin: ORIGIN };
    let done = call.services.letters.send(&call.principal, letter).await.map_err(named_text)?;
    let waited = params.mode != Mode::FireAndForget;
    Ok(Sent {
        sent: true,
        response: done.response,
        turns_completed: (params.mode == Mode::PingPong).then_some(done.turns),
        stats: waited.then(|| Stats { runtime_ms: done.runtime_ms, total_tokens: done.usage.total(), total_cost: 0.0 }),
    }
    .into())
}

fn exchange(
    turns: Option<u32>,
    policy: &AgentToAgent,
    limit: Duration,
    is_same: bool,
) -> Result<letters::Reply, OpError> {
    if is_same {
        return Err(OpError::invalid("session_key", "is the sender's own session; a ping-pong needs another one"));
    }
    if turns == Some(0) {
        return Err(OpError::invalid("max_turns", "must be at least 1"));
    }
    // Whatever is configured, a ping-pong is at least one question and its answer.
    let most = policy.max_ping_pong_turns.max(1);
    Ok(letters::Reply::Exchange { turns_max: turns.unwrap_or(most).min(most), limit })
}

/// The session that a text means. One that does not exist is not made by a slip of the pen, but
/// every agent has a main session, whether it was ever used or not.
async fn target(call: &Call, text: &str, agent: Option<&AgentId>) -> Result<SessionKey, OpError> {
    let default = call.services.agents.default_agent().id.clone();
    let keys = candidates(text, agent.unwrap_or(&default));
    let mut fitting = keys.into_iter().filter(|key| agent.is_none_or(|agent| key.agent() == *agent)).peekable();
    if fitting.peek().is_none()
        && let Some(agent) = agent
    {
        return Err(OpError::invalid("agent_id", format!("session `{text}` does not belong to agent `{agent}`")));
    }
    for key in fitting {
        let is_main = key == SessionKey::main(&key.agent()) && call.services.agents.get(&key.agent()).is_some();
        if is_main || call.services.sessions.get(&key).await?.is_some() {
            return Ok(key);
        }
    }
    Err(not_found(text))
}

/// The gateway knows a message where this method has a text.
fn named_text(mut error: OpError) -> OpError {
    if error.field.as_deref() == Some("message") {
        error.message = error.message.replacen("message", "text", 1);
        error.field = Some(String::from("text"));
    }
    error
}
