//! A session as lists show it.

use model::{OpError, Part, Role, Session, SessionKey, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use services::Services;
use services::sessions::MessagePage;

use crate::keys;
use crate::outcome::visible;

/// Characters of a title made of the first message.
const TITLE_CHARS_MAX: usize = 60;
/// Characters of the last message that a list shows.
const PREVIEW_CHARS_MAX: usize = 200;

/// Fields without a value are left out.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRow {
    /// Canonical.
    pub key: String,
    /// `direct`, `group`, `global` or `unknown`.
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derived_title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message_preview: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Unix milliseconds.
    pub updated_at: i64,
    pub session_id: String,
    /// Whether the model has seen this transcript; known right after a reset, when it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_sent: Option<bool>,
    pub aborted_last_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbose_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_level: Option<String>,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub total_tokens: u64,
    pub model_provider: Option<String>,
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<String>,
    pub agent_id: String,
    pub has_active_run: bool,
    pub active_run_ids: Vec<String>,
    pub archived: bool,
    pub pinned: bool,
}

/// What costs a look into the transcript.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras {
    pub titles: bool,
    pub last_message: bool,
}

/// The model that a session's next run would use: provider, model, context window.
pub fn model_of(
    services: &Services,
    session: Option<&Session>,
    key: &SessionKey,
) -> (Option<String>, Option<String>, Option<u32>) {
    let chosen = session.and_then(|session| session.settings.model.clone());
    let chosen =
        chosen.or_else(|| services.agents.get(&key.agent()).and_then(|agent| services.models.model_of(&agent)));
    let Some(model) = chosen else { return (None, None, None) };
    let window = services.models.describe(&model).and_then(|info| info.context_window);
    (Some(model.provider.to_string()), Some(model.model.to_string()), window)
}

pub async fn row(services: &Services, session: &Session, extras: Extras) -> Result<SessionRow, OpError> {
    let (model_provider, model, context_tokens) = model_of(services, Some(session), &session.key);
    let active: Vec<String> = services.runs.active_of(&session.key).iter().map(ToString::to_string).collect();
    let derived_title = if extras.titles { Some(title(services, session).await?) } else { None };
    let last_message_preview = if extras.last_message { last_message(services, &session.key).await? } else { None };
    let channel = keys::channel(&session.key).map(str::to_owned);
    Ok(SessionRow {
        key: keys::spell(&session.key).into_owned(),
        kind: keys::kind(&session.key),
        label: session.settings.label.clone(),
        derived_title,
        last_message_preview,
        surface: channel.clone(),
        channel,
        updated_at: session.updated_at.as_ms(),
        session_id: session.id.to_string(),
        system_sent: None,
        aborted_last_run: session.aborted_last_run,
        thinking_level: session.settings.thinking.map(model::Thinking::as_str),
        verbose_level: session.settings.verbose.clone(),
        reasoning_level: session.settings.reasoning.clone(),
        input_tokens: session.input_tokens,
        output_tokens: session.output_tokens,
        total_tokens: session.token_count,
        model_provider,
        model,
        context_tokens,
        spawned_by: session.settings.spawned_by.as_ref().map(|key| keys::spell(key).into_owned()),
        agent_id: session.key.agent().to_string(),
        has_active_run: !active.is_empty(),
        active_run_ids: active,
        archived: false,
        pinned: false,
    })
}

/// The first user message in short, else the transcript's id and day.
async fn title(services: &Services, session: &Session) -> Result<String, OpError> {
    let first = services.sessions.first_user_text(&session.id).await?;
    let words = first.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty());
    Ok(words.map_or_else(|| untitled(session), |text| cut_at_word(&text, TITLE_CHARS_MAX)))
}

fn untitled(session: &Session) -> String {
    let id = session.id.as_str();
    let short: String = id.strip_prefix(model::SessionId::PREFIX).unwrap_or(id).chars().take(8).collect();
    format!("{short} ({})", day(session.created_at))
}

fn day(at: Timestamp) -> String {
    at.to_iso().chars().take(10).collect()
}

pub fn cut_at_word(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let cut: String = text.chars().take(chars_max - 1).collect();
    let whole = cut.rsplit_once(' ').map_or(cut.as_str(), |(head, _)| head);
    format!("{whole}…")
}

async fn last_message(services: &Services, key: &SessionKey) -> Result<Option<String>, OpError> {
    // Newest first until one has text: assistant messages that only call tools have none.
    let page = MessagePage { roles: vec![Role::User, Role::Assistant], limit: 8, ..MessagePage::default() };
    let history = services.sessions.history(key, page).await?;
    let messages = history.map(|history| history.messages).unwrap_or_default();
    let last = messages
        .iter()
        .rev()
        .map(|message| message.body.content.text().into_owned())
        .find(|text| visible(text).is_some());
    Ok(last.map(|text| cut_at_word(&text.split_whitespace().collect::<Vec<_>>().join(" "), PREVIEW_CHARS_MAX)))
}

/// Pictures of a message as clients show them.
pub fn image_blocks(parts: &[Part]) -> Vec<serde_json::Value> {
    parts
        .iter()
        .filter_map(|part| match part {
            Part::Image { mime_type, data: Some(data), .. } => {
                Some(serde_json::json!({ "type": "image", "mimeType": mime_type, "data": data }))
            }
            Part::Image { mime_type, url: Some(url), .. } => {
                Some(serde_json::json!({ "type": "image", "mimeType": mime_type, "url": url }))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_titles_are_cut_at_a_word() {
        assert_eq!(cut_at_word("short", 60), "short");
        assert_eq!(cut_at_word("one two three", 9), "one two…");
        assert_eq!(cut_at_word("unbroken", 5), "unbr…");
    }
}
