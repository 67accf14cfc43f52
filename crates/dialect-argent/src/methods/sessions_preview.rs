use model::{Message, OpError, Role, SessionKey};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::sessions::MessagePage;

use super::at_least;
use crate::link::link;

/// Read the newest messages of several sessions in short, in the order in which they are asked for.
#[derive(JsonSchema)]
pub struct SessionsPreview;

/// Keys beyond these are ignored.
const KEYS_MAX: usize = 64;
const ITEMS_MAX: u64 = 50;
const CHARS_MAX: u64 = 2000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// At least one; the first 64 count.
    keys: Vec<String>,
    /// Messages of each session, 12 unless said otherwise, at most 50.
    #[serde(default)]
    limit: Option<i64>,
    /// Characters of each message, 240 unless said otherwise, 20 to 2000.
    #[serde(default)]
    max_chars: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Unix milliseconds.
    ts: i64,
    previews: Vec<Preview>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Preview {
    /// As it was asked for.
    key: String,
    /// `ok`, `empty`, `missing` or `error`.
    status: &'static str,
    /// Oldest first.
    items: Vec<Item>,
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Item {
    /// `user`, `assistant`, `tool`, `system` or `other`.
    role: &'static str,
    text: String,
}

pub async fn run(call: Call, params: Params) -> Result<Reply<Output>, OpError> {
    if params.keys.is_empty() {
        return Err(OpError::invalid("keys", "must NOT have fewer than 1 items"));
    }
    let limit = at_least("limit", params.limit, 1)?.unwrap_or(12).min(ITEMS_MAX);
    let chars = at_least("maxChars", params.max_chars, 20)?.unwrap_or(240).min(CHARS_MAX);
    let agent = call.services.agents.default_agent().id.clone();
    let mut previews = Vec::new();
    for written in params.keys.into_iter().take(KEYS_MAX) {
        let preview = match link(&call)?.key(&written, &agent, "keys") {
            Ok(key) => preview(&call, &key, limit, chars).await,
            Err(_) => Ok(("missing", Vec::new())),
        };
        let (status, items) = preview.unwrap_or_else(|error| {
            tracing::warn!(%error, "a session could not be previewed");
            ("error", Vec::new())
        });
        previews.push(Preview { key: written, status, items });
    }
    Ok(Output { ts: call.services.clock.now().as_ms(), previews }.into())
}

async fn preview(call: &Call, key: &SessionKey, limit: u64, chars: u64) -> Result<(&'static str, Vec<Item>), OpError> {
    let page = MessagePage { limit, ..MessagePage::default() };
    let Some(history) = call.services.sessions.history(key, page).await? else { return Ok(("missing", Vec::new())) };
    let items: Vec<Item> = history.messages.iter().filter_map(|message| item(message, chars)).collect();
    Ok((if items.is_empty() { "empty" } else { "ok" }, items))
}

fn item(message: &Message, chars: u64) -> Option<Item> {
    let body = &message.body;
    let role = match body.role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        Role::System => "system",
    };
    let calls = body.tool_calls.iter().map(|call| format!("call {}", call.name));
    let text = std::iter::once(body.content.text().trim().to_owned()).chain(calls).filter(|part| !part.is_empty());
    let text = text.collect::<Vec<_>>().join("\n");
    (!text.is_empty()).then(|| Item { role, text: clip(&text, usize::try_from(chars).unwrap_or(usize::MAX)) })
}

fn clip(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let head: String = text.chars().take(chars_max - 3).collect();
    format!("{head}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_in_dots_within_the_limit() {
        assert_eq!(clip(&"x".repeat(21), 20), format!("{}...", "x".repeat(17)));
        assert_eq!(clip("short", 20), "short");
    }
}
