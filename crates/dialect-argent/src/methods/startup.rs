//! `chat.startup`, `chat.metadata`: what a chat page needs in one call.

use model::{ErrorKind, Noun, OpError};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chat_history as history;
use super::commands::{CommandView, views};
use super::models::{self, ModelView};
use super::{at_least, session_named};
use crate::link::link;

/// Read a session's transcript, the models and the commands in one call.
#[derive(JsonSchema)]
pub struct ChatStartup;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartupParams {
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    key: Option<String>,
    /// Messages, 80 unless said otherwise.
    #[serde(default)]
    limit: Option<i64>,
    /// Accepted; a transcript is never longer than 6 MiB.
    #[serde(default)]
    max_bytes: Option<i64>,
    #[serde(default)]
    agent_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct StartupOutput {
    #[serde(flatten)]
    history: history::Output,
    models: Vec<ModelView>,
    commands: Vec<CommandView>,
}

pub async fn startup(call: Call, params: StartupParams) -> Result<Reply<StartupOutput>, OpError> {
    at_least("maxBytes", params.max_bytes, 0)?;
    let params = history::Params {
        session_key: params.session_key,
        key: params.key,
        limit: Some(params.limit.unwrap_or(80)),
        agent_id: params.agent_id,
        ..history::Params::default()
    };
    let history = history::read(&call, link(&call)?, &params).await?;
    let models = models::read(&call, &models::Params::default()).await.models;
    Ok(StartupOutput { history, models, commands: views(&call, true) }.into())
}

/// Read the models and the commands that a chat page offers.
#[derive(JsonSchema)]
pub struct ChatMetadata;

pub const METADATA_ERRORS: &[ErrorKind] = &[ErrorKind::NotFound(Noun::Agent)];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetadataParams {
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    agent_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct MetadataOutput {
    models: Vec<ModelView>,
    commands: Vec<CommandView>,
}

pub async fn metadata(call: Call, params: MetadataParams) -> Result<Reply<MetadataOutput>, OpError> {
    let written = params.session_key.as_deref().or(params.key.as_deref());
    session_named(&call, link(&call)?, written, params.agent_id.as_deref(), "sessionKey")?;
    let models = models::read(&call, &models::Params::default()).await.models;
    Ok(MetadataOutput { models, commands: views(&call, true) }.into())
}
