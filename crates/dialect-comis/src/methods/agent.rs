//! `agent.execute` and `agent.stream`: a turn whose failure is a result, not an error.

use dialect::MethodTable;
use model::{AgentId, ErrorKind, Noun, OpError, Scope};
use ops::{Call, Class, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use services::runs::NewRun;

use crate::ORIGIN;
use crate::errors::words;
use crate::session_key::{ComisKey, GATEWAY_CHANNEL, RPC_USER, Target};
use crate::turn::{Ended, TokensUsed, Turn};

/// Send a message to an agent and wait for its whole answer.
///
/// Wrong parameters and failed turns are told as `{error}` in the result. The turn goes on when the
/// client goes away.
#[derive(JsonSchema)]
struct AgentExecute;

/// The same as `agent.execute`. The answer as it grows is on `GET /api/chat/stream` and in the
/// events `message:streaming`.
#[derive(JsonSchema)]
struct AgentStream;

/// Read without types, because a wrong one is told in the result.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Params {
    #[serde(default)]
    #[schemars(with = "String", required)]
    message: Value,
    /// The default agent when absent.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    agent_id: Value,
    /// `{userId, channelId, peerId}`, or a formatted or canonical key; the agent's main session when absent.
    #[serde(default)]
    session_key: Value,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Executed {
    #[serde(rename_all = "camelCase")]
    Answered {
        response: String,
        tokens_used: TokensUsed,
        /// `stop`, `max_steps`, `budget_exceeded` or `error`.
        finish_reason: &'static str,
        /// The channel of the session.
        session_key: String,
    },
    Failed {
        error: String,
    },
}

const ERRORS: &[ErrorKind] = &[ErrorKind::NotFound(Noun::Agent), ErrorKind::Busy, ErrorKind::Unavailable];

pub(crate) fn bind(table: &mut MethodTable) {
    table.handle::<AgentExecute, Params, Executed, _, _>(
        "agent.execute",
        Some(Scope::Write),
        Class::Write,
        ERRORS,
        execute,
    );
    table.handle::<AgentStream, Params, Executed, _, _>(
        "agent.stream",
        Some(Scope::Write),
        Class::Write,
        ERRORS,
        execute,
    );
}

async fn execute(call: Call, params: Params) -> Result<Reply<Executed>, OpError> {
    let done = match turn(&call, &params).await {
        Ok(answered) => answered,
        Err(error) => Executed::Failed { error },
    };
    Ok(done.into())
}

async fn turn(call: &Call, params: &Params) -> Result<Executed, String> {
    let message = params.message.as_str().filter(|message| !message.is_empty());
    let message = message.ok_or_else(|| String::from("Missing required parameter: message"))?;
    let named = match &params.agent_id {
        Value::Null => None,
        Value::String(name) => Some(name.as_str()),
        _ => return Err(String::from("agentId must be a string")),
    };
    let agent = crate::agent(&call.services, named)?;
    let target = target(&params.session_key, &agent)?;
    if named.is_some() && target.session.agent() != agent {
        return Err(format!("sessionKey belongs to agent {}", target.session.agent()));
    }
    let new = NewRun::new(target.session, message, ORIGIN);
    let turn = Turn::start(&call.services, &call.principal, new).await.map_err(|error| words(&error).to_owned())?;
    let Ended { response, tokens, finish, .. } = turn.finish().await;
    Ok(Executed::Answered { response, tokens_used: tokens, finish_reason: finish?, session_key: target.channel })
}

fn target(key: &Value, agent: &AgentId) -> Result<Target, String> {
    match key {
        Value::Null => Ok(Target::main(agent)),
        Value::String(text) if text.is_empty() => Ok(Target::main(agent)),
        Value::String(text) => Target::parse(text, agent).map_err(|error| format!("sessionKey: {}", error.reason)),
        Value::Object(parts) => target_of_parts(parts, agent),
        _ => Err(String::from("sessionKey must be an object")),
    }
}

fn target_of_parts(parts: &Map<String, Value>, agent: &AgentId) -> Result<Target, String> {
    let part = |name: &str| match parts.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("sessionKey.{name} must be a string")),
    };
    let (user, channel, peer) = (part("userId")?, part("channelId")?, part("peerId")?);
    if user.is_none() && channel.is_none() && peer.is_none() {
        return Ok(Target::main(agent));
    }
    let channel = channel.unwrap_or_else(|| GATEWAY_CHANNEL.to_owned());
    let mut key = ComisKey::of_channel(user.as_deref().unwrap_or(RPC_USER), &channel);
    key.peer_id = peer;
    let session = key.session(agent).map_err(|error| format!("sessionKey: {}", error.reason))?;
    Ok(Target { session, channel })
}
