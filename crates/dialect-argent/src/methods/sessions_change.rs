//! `sessions.reset`, `sessions.compact`.

use model::{ErrorKind, Noun, OpError};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use services::runs::Truncated;
use services::sessions::CompactOptions;

use super::commands::reason;
use super::{at_least, session_named};
use crate::keys;
use crate::link::link;
use crate::rows::{self, Extras, SessionRow};

/// Give a session a new, empty transcript; its settings stay. What runs in it is stopped first.
/// A session that does not exist is made.
#[derive(JsonSchema)]
pub struct SessionsReset;

pub const RESET_ERRORS: &[ErrorKind] =
    &[ErrorKind::NotFound(Noun::Agent), ErrorKind::Busy, ErrorKind::Conflict, ErrorKind::Unavailable];

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ResetReason {
    New,
    #[default]
    Reset,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResetParams {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    reason: ResetReason,
    /// Refuse when the session has another transcript by now.
    #[serde(default)]
    expected_session_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ResetOutput {
    ok: bool,
    /// Canonical.
    key: String,
    entry: SessionRow,
    resolved: Resolved,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Resolved {
    model_provider: Option<String>,
    model: Option<String>,
}

pub async fn reset(call: Call, params: ResetParams) -> Result<Reply<ResetOutput>, OpError> {
    let key = key(&call, params.key.as_deref(), params.session_key.as_deref())?;
    if let Some(expected) = params.expected_session_id {
        let stored = call.services.sessions.get(&key).await?;
        if stored.is_none_or(|session| session.id.as_str() != expected) {
            let message = format!("session {} changed; reload and retry", keys::spell(&key));
            return Err(OpError::conflict(message).with_details(json!({ "reason": "session-changed" })));
        }
    }
    let reason = match params.reason {
        ResetReason::New => "new",
        ResetReason::Reset => "reset",
    };
    let session = call.services.runs.reset_session(&key, reason).await?;
    let row = rows::row(&call.services, &session, Extras::default()).await?;
    let entry = SessionRow { system_sent: Some(false), ..row };
    let resolved = Resolved { model_provider: entry.model_provider.clone(), model: entry.model.clone() };
    Ok(ResetOutput { ok: true, key: keys::spell(&key).into_owned(), entry, resolved }.into())
}

/// Shorten a session: older messages become a summary, or with `maxLines` are removed.
///
/// Refused while a run is active. Nothing is done to a session that does not exist.
#[derive(JsonSchema)]
pub struct SessionsCompact;

pub const COMPACT_ERRORS: &[ErrorKind] = &[ErrorKind::Busy, ErrorKind::Unavailable];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompactParams {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    session_key: Option<String>,
    /// Keep this many newest messages and remove the others, without a summary.
    #[serde(default)]
    max_lines: Option<i64>,
    /// Guidance for the summary.
    #[serde(default)]
    instructions: Option<String>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompactOutput {
    ok: bool,
    /// Canonical.
    key: String,
    compacted: bool,
    /// `no sessionId` or `nothing to compact`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Messages that are left, when some were to be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<u64>,
    /// The file that holds the transcript as it was, when messages were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    archived: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_after: Option<u64>,
}

pub async fn compact(call: Call, params: CompactParams) -> Result<Reply<CompactOutput>, OpError> {
    let key = key(&call, params.key.as_deref(), params.session_key.as_deref())?;
    let max_lines = at_least("maxLines", params.max_lines, 1)?;
    let output = CompactOutput { ok: true, key: keys::spell(&key).into_owned(), ..CompactOutput::default() };
    let Some(before) = call.services.sessions.get(&key).await? else {
        return Ok(CompactOutput { reason: Some("no sessionId"), ..output }.into());
    };
    if let Some(keep) = max_lines {
        let Truncated { removed, copy } = call.services.runs.truncate_now(&key, keep).await?.unwrap_or_default();
        let archived = copy.map(|copy| copy.display().to_string());
        let kept = Some(before.message_count.saturating_sub(removed));
        return Ok(CompactOutput { compacted: removed > 0, kept, archived, ..output }.into());
    }
    let instructions = params.instructions.filter(|text| !text.trim().is_empty());
    let options = CompactOptions { instructions, ..CompactOptions::default() };
    let done = call.services.runs.compact_now(&key, options).await?;
    Ok(CompactOutput {
        compacted: done.compacted,
        reason: done.reason.map(reason),
        tokens_before: Some(done.tokens_before),
        tokens_after: Some(done.tokens_after),
        ..output
    }
    .into())
}

fn key(call: &Call, key: Option<&str>, session_key: Option<&str>) -> Result<model::SessionKey, OpError> {
    let written = key.or(session_key).ok_or_else(|| OpError::invalid("key", "is required"))?;
    session_named(call, link(call)?, Some(written), None, "key")
}
