//! `commands.list`, `commands.compact`.

use model::{ErrorKind, Noun, OpError, StopCause};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::sessions::CompactOptions;

use super::session_named;
use crate::link::link;

/// List what can be typed with a leading `/`.
#[derive(JsonSchema)]
pub struct CommandsList;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum CommandScope {
    Text,
    Native,
    #[default]
    Both,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(
    dead_code,
    reason = "every command is there for every agent, provider and surface; the fields are checked for their types"
)]
pub struct ListParams {
    #[serde(default)]
    agent_id: Option<String>,
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    provider: Option<String>,
    #[serde(default)]
    scope: CommandScope,
    #[serde(default)]
    include_args: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ListOutput {
    pub commands: Vec<CommandView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandView {
    name: &'static str,
    native_name: &'static str,
    text_aliases: Vec<String>,
    description: &'static str,
    /// `session`, `options`, `status` or `management`.
    category: &'static str,
    source: &'static str,
    scope: &'static str,
    accepts_args: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Vec<ArgumentView>>,
    key: &'static str,
    aliases: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ArgumentView {
    name: &'static str,
    description: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    required: bool,
}

pub async fn list(call: Call, params: ListParams) -> Result<Reply<ListOutput>, OpError> {
    Ok(ListOutput { commands: views(&call, params.include_args.unwrap_or(true)) }.into())
}

pub fn views(call: &Call, with_args: bool) -> Vec<CommandView> {
    let commands = call.services.commands.list().iter();
    commands
        .map(|command| {
            let aliases = vec![format!("/{}", command.key)];
            let args = command
                .hint
                .filter(|_| with_args)
                .map(|hint| vec![ArgumentView { name: "value", description: hint, kind: "string", required: false }]);
            CommandView {
                name: command.key,
                native_name: command.key,
                text_aliases: aliases.clone(),
                description: command.description,
                category: category(command.key),
                source: "native",
                scope: "both",
                accepts_args: command.hint.is_some(),
                args,
                key: command.key,
                aliases,
            }
        })
        .collect()
}

fn category(command: &str) -> &'static str {
    match command {
        "model" | "think" => "options",
        "help" | "status" => "status",
        "stop" => "management",
        _ => "session",
    }
}

/// Summarise the older messages of a session now. What runs in it is stopped first.
#[derive(JsonSchema)]
pub struct CommandsCompact;

pub const COMPACT_ERRORS: &[ErrorKind] =
    &[ErrorKind::NotFound(Noun::Session), ErrorKind::Timeout, ErrorKind::Unavailable];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompactParams {
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    key: Option<String>,
    /// Guidance for the summary.
    #[serde(default)]
    instructions: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompactOutput {
    ok: bool,
    compacted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    tokens_before: u64,
    tokens_after: u64,
}

pub async fn compact(call: Call, params: CompactParams) -> Result<Reply<CompactOutput>, OpError> {
    let link = link(&call)?;
    let written = params.session_key.as_deref().or(params.key.as_deref());
    let written = Some(written.ok_or_else(|| OpError::invalid("sessionKey", "is required"))?);
    let key = session_named(&call, link, written, None, "sessionKey")?;
    if call.services.sessions.get(&key).await?.is_none() {
        let mut error = OpError::not_found(Noun::Session, &key);
        error.message = String::from("session not found or has no sessionId");
        return Err(error);
    }
    call.services.runs.cancel_session(&key, StopCause::User).await?;
    let instructions = params.instructions.filter(|text| !text.trim().is_empty());
    let done = call.services.runs.compact(&key, CompactOptions { instructions, ..CompactOptions::default() }).await?;
    Ok(CompactOutput {
        ok: true,
        compacted: done.compacted,
        reason: done.reason.map(reason),
        tokens_before: done.tokens_before,
        tokens_after: done.tokens_after,
    }
    .into())
}

/// Why nothing was compacted, in the words of the published ArgentOS API.
pub fn reason(ours: &'static str) -> &'static str {
    match ours {
        "nothing_to_compact" | "no_gain" => "nothing to compact",
        other => other,
    }
}
