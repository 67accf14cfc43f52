//! `sessions.subscribe`, `sessions.messages.subscribe` and their opposites.

use model::{ErrorKind, OpError};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{NoParams, session_named};
use crate::keys;
use crate::link::link;

/// Follow changes of the list of sessions: from now on `sessions.changed` is sent.
#[derive(JsonSchema)]
pub struct SessionsSubscribe;

/// Stop following changes of the list of sessions.
#[derive(JsonSchema)]
pub struct SessionsUnsubscribe;

#[derive(Debug, Serialize, JsonSchema)]
pub struct Subscribed {
    subscribed: bool,
}

pub async fn sessions(call: Call, _: NoParams) -> Result<Reply<Subscribed>, OpError> {
    link(&call)?.follow_sessions(true);
    Ok(Subscribed { subscribed: true }.into())
}

pub async fn no_sessions(call: Call, _: NoParams) -> Result<Reply<Subscribed>, OpError> {
    link(&call)?.follow_sessions(false);
    Ok(Subscribed { subscribed: false }.into())
}

/// Follow the transcript of a session: from now on `session.message` is sent for each message of a
/// user or of the agent. A connection follows at most 256 transcripts.
#[derive(JsonSchema)]
pub struct SessionsMessagesSubscribe;

/// Stop following the transcript of a session.
#[derive(JsonSchema)]
pub struct SessionsMessagesUnsubscribe;

pub const ERRORS: &[ErrorKind] = &[ErrorKind::Conflict];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    agent_id: Option<String>,
    /// Also tell what waits for approval.
    #[serde(default)]
    include_approvals: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    subscribed: bool,
    /// Canonical.
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_replay: Option<Value>,
}

pub async fn transcript(call: Call, params: Params) -> Result<Reply<Output>, OpError> {
    let key = key(&call, &params)?;
    link(&call)?.follow_transcript(&key)?;
    // No run of this gateway asks for approval yet, so there is none to replay.
    let approval_replay = params.include_approvals.then(
        || json!({ "sessionKey": keys::spell(&key), "updatedAtMs": call.services.clock.now(), "approvals": [], "truncated": false }),
    );
    Ok(Output { subscribed: true, key: keys::spell(&key).into_owned(), approval_replay }.into())
}

pub async fn no_transcript(call: Call, params: Params) -> Result<Reply<Output>, OpError> {
    let key = key(&call, &params)?;
    link(&call)?.unfollow_transcript(&key);
    Ok(Output { subscribed: false, key: keys::spell(&key).into_owned(), approval_replay: None }.into())
}

fn key(call: &Call, params: &Params) -> Result<model::SessionKey, OpError> {
    let written = params.key.as_deref().or(params.session_key.as_deref());
    let written = written.ok_or_else(|| OpError::invalid("key", "is required"))?;
    session_named(call, link(call)?, Some(written), params.agent_id.as_deref(), "key")
}
