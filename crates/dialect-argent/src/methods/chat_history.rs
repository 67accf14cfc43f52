use model::{Content, Message, OpError, Role, RunState, SessionKey};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use services::sessions::MessagePage;

use super::{at_least, between, session_named};
use crate::keys;
use crate::link::{Link, link};
use crate::outcome::{split_model, usage_json, visible};
use crate::rows::{self, Extras, SessionRow};

/// Read the transcript of a session as it is shown, oldest first.
///
/// Only what was said: tool results and system messages are left out, assistant messages are
/// reduced to their visible text. An unknown session has no messages. Older messages are left out
/// until the answer fits into 6 MiB.
#[derive(JsonSchema)]
pub struct ChatHistory;

/// Of the messages as JSON.
const BYTES_MAX: usize = 6 * 1024 * 1024;
const LIMIT: u64 = 200;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// Absent = the main session.
    #[serde(default)]
    pub session_key: Option<String>,
    #[serde(default)]
    pub key: Option<String>,
    /// 1 to 1000, 200 unless said otherwise.
    #[serde(default)]
    pub limit: Option<i64>,
    /// Must agree with the key.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// Newest messages to skip.
    #[serde(default)]
    pub offset: Option<i64>,
    /// Clip each text, 1 to 500 000 characters.
    #[serde(default)]
    pub max_chars: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// As it was asked for.
    session_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    /// `{role, content, timestamp, stopReason?, usage?, provider?, model?}`
    messages: Vec<Value>,
    thinking_level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbose_level: Option<String>,
    has_more: bool,
    total_messages: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_info: Option<SessionRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight_run: Option<InFlight>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct InFlight {
    run_id: String,
    /// What was said so far.
    text: String,
}

pub async fn run(call: Call, params: Params) -> Result<Reply<Output>, OpError> {
    let link = link(&call)?;
    Ok(read(&call, link, &params).await?.into())
}

pub async fn read(call: &Call, link: &Link, params: &Params) -> Result<Output, OpError> {
    let written = params.session_key.as_deref().or(params.key.as_deref());
    let key = session_named(call, link, written, params.agent_id.as_deref(), "sessionKey")?;
    let limit = between("limit", params.limit, 1, 1000)?.unwrap_or(LIMIT);
    let offset = at_least("offset", params.offset, 0)?.unwrap_or(0);
    let max_chars = between("maxChars", params.max_chars, 1, 500_000)?;
    let session_key = written.map_or_else(|| keys::spell(&key).into_owned(), str::to_owned);
    let agent = call.services.agents.get(&key.agent());
    let mut output = Output {
        session_key,
        session_id: None,
        messages: Vec::new(),
        thinking_level: agent.map_or("medium", |agent| agent.thinking.as_str()),
        verbose_level: None,
        has_more: false,
        total_messages: 0,
        session_info: None,
        in_flight_run: in_flight(call, &key),
    };
    let page = MessagePage { roles: vec![Role::User, Role::Assistant], ..MessagePage::default() };
    let Some(history) = call.services.sessions.history(&key, page).await? else { return Ok(output) };
    let shown: Vec<Value> = history.messages.iter().filter_map(|message| show(message, max_chars)).collect();
    let total = u64::try_from(shown.len()).unwrap_or(u64::MAX);
    let (messages, first) = newest(shown, offset, limit);
    output.has_more = first > 0;
    output.total_messages = total;
    output.messages = messages;
    output.session_id = Some(history.session.id.to_string());
    if let Some(level) = history.session.settings.thinking {
        output.thinking_level = level.as_str();
    }
    output.verbose_level = history.session.settings.verbose.clone();
    output.session_info = Some(rows::row(&call.services, &history.session, Extras::default()).await?);
    Ok(output)
}

/// The window of the newest messages that fits, and how many precede it.
fn newest(mut all: Vec<Value>, offset: u64, limit: u64) -> (Vec<Value>, usize) {
    let skip = usize::try_from(offset).unwrap_or(usize::MAX);
    all.truncate(all.len().saturating_sub(skip));
    let mut first = all.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    let mut bytes: usize = 2;
    for index in (first..all.len()).rev() {
        bytes += all[index].to_string().len() + 1;
        if bytes > BYTES_MAX {
            first = index + 1;
            break;
        }
    }
    (all.split_off(first), first)
}

fn in_flight(call: &Call, key: &SessionKey) -> Option<InFlight> {
    let active = call.services.runs.active_of(key).into_iter().next()?;
    let live = call.services.runs.live(&active)?;
    (live.run.state == RunState::Running).then(|| InFlight { run_id: active.to_string(), text: live.message })
}

/// A message as clients show it; `None` when there is nothing to show.
fn show(message: &Message, max_chars: Option<u64>) -> Option<Value> {
    let clip = |text: &str| match max_chars {
        Some(max) => text.chars().take(usize::try_from(max).unwrap_or(usize::MAX)).collect(),
        None => text.to_owned(),
    };
    let body = &message.body;
    let text = body.content.text();
    let mut shown = json!({ "role": body.role, "timestamp": message.created_at.as_ms() });
    match body.role {
        Role::User => {
            let text = clip(&without_envelope(&text));
            let images = match &body.content {
                Content::Parts(parts) => rows::image_blocks(parts),
                Content::Text(_) => Vec::new(),
            };
            if images.is_empty() {
                shown["content"] = json!(text);
            } else {
                let blocks = std::iter::once(json!({ "type": "text", "text": text })).chain(images);
                shown["content"] = blocks.collect();
            }
            if let Some(run) = &message.run_id {
                shown["idempotencyKey"] = json!(run);
            }
        }
        Role::Assistant => {
            shown["content"] = json!([{ "type": "text", "text": clip(visible(&text)?) }]);
            let stopped = body.metadata.get("stop_reason").and_then(Value::as_str);
            shown["stopReason"] = json!(match stopped {
                Some("error") => "error",
                _ => "stop",
            });
            if let Some(usage) = &body.usage {
                shown["usage"] = usage_json(usage);
            }
            if let (Some(provider), Some(model)) = split_model(body.model.as_deref()) {
                shown["provider"] = json!(provider);
                shown["model"] = json!(model);
            }
        }
        Role::System | Role::Tool => return None,
    }
    Some(shown)
}

/// User text without the header that channels put before it, `[Telegram Ann 2026-05-04 10:00] `,
/// and without lines that name a message.
fn without_envelope(text: &str) -> String {
    let body = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((header, rest)) if is_envelope(header) => rest.trim_start(),
        _ => text,
    };
    if !body.contains("[message_id:") {
        return body.to_owned();
    }
    body.lines().filter(|line| !line.trim_start().starts_with("[message_id:")).collect::<Vec<_>>().join("\n")
}

const CHANNELS: [&str; 12] = [
    "telegram",
    "whatsapp",
    "discord",
    "slack",
    "signal",
    "imessage",
    "webchat",
    "msteams",
    "google chat",
    "matrix",
    "zalo",
    "line",
];

fn is_envelope(header: &str) -> bool {
    if header.contains('\n') {
        return false;
    }
    let lower = header.to_lowercase();
    let names_channel = CHANNELS.iter().any(|channel| lower == *channel || lower.starts_with(&format!("{channel} ")));
    names_channel || has_date_time(header)
}

/// `2026-05-04 10:00` or `2026-05-04T10:00`.
fn has_date_time(text: &str) -> bool {
    const PATTERN: &[u8] = b"dddd-dd-dd dd:dd";
    text.as_bytes().windows(PATTERN.len()).any(|window| {
        window.iter().zip(PATTERN).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            b' ' => matches!(byte, b' ' | b'T'),
            wanted => byte == wanted,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_of_channels_are_cut_and_other_brackets_are_not() {
        assert_eq!(without_envelope("[Telegram Ann 2026-05-04 10:00] hi"), "hi");
        assert_eq!(without_envelope("[Tue 2026-05-04T10:00Z] hi"), "hi");
        assert_eq!(without_envelope("[WhatsApp] hi"), "hi");
        assert_eq!(without_envelope("[draft] hi"), "[draft] hi");
        assert_eq!(without_envelope("hi\n[message_id: 7]\nthere"), "hi\nthere");
    }

    #[test]
    fn the_newest_messages_that_fit_are_kept() {
        let all: Vec<Value> = (0..10).map(|n| json!(n)).collect();
        assert_eq!(newest(all.clone(), 0, 3), (vec![json!(7), json!(8), json!(9)], 7));
        assert_eq!(newest(all.clone(), 2, 3), (vec![json!(5), json!(6), json!(7)], 5));
        assert_eq!(newest(all, 99, 3), (Vec::new(), 0));
        let big = vec![json!("x".repeat(4 * 1024 * 1024)); 3];
        assert_eq!(newest(big, 0, 3).1, 2);
    }
}
