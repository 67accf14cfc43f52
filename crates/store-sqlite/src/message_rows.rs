//! Messages as rows.

use std::sync::Arc;

use model::{Content, Message, MessageId, NewMessage, Reasoning, Role, RunId, ToolCall, Usage};
use rusqlite::Row;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::columns::{Json, text, time, word};

pub const COLUMNS: &str = "m.message_id, m.seq, m.run_id, m.created_at, m.role, m.content, m.extra";

pub fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let extra = row.get::<_, Option<Json<Extra>>>(6)?.map_or_else(Extra::default, |Json(extra)| extra);
    Ok(Message {
        id: MessageId::trusted(text(row, 0)?),
        seq: row.get(1)?,
        run_id: row.get::<_, Option<Arc<str>>>(2)?.map(RunId::trusted),
        created_at: time(row, 3)?,
        body: NewMessage {
            role: word(row, 4, Role::parse)?,
            content: row.get::<_, Json<Content>>(5)?.0,
            tool_calls: extra.tool_calls,
            tool_call_id: extra.tool_call_id,
            reasoning: extra.reasoning,
            usage: extra.usage,
            model: extra.model,
            metadata: extra.metadata,
        },
    })
}

/// ` AND m.role IN (…)`, or nothing for all roles. The words are ours, so they may stand in the text.
pub fn role_condition(roles: &[Role]) -> String {
    if roles.is_empty() {
        return String::new();
    }
    let words: Vec<String> = roles.iter().map(|role| format!("'{}'", role.as_str())).collect();
    format!(" AND m.role IN ({})", words.join(", "))
}

/// What few messages have, in one column that is empty for all others.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Extra {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, serde_json::Value>,
}
