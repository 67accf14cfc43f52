//! Values as every backend keeps them.

use std::sync::Arc;

use model::{Content, ErrorKind, NewMessage, Noun, Reasoning, Role, ToolCall, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Map;

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

impl Extra {
    /// `None` for a plain message.
    pub fn of(body: &NewMessage) -> Option<Extra> {
        let plain = body.tool_calls.is_empty()
            && body.tool_call_id.is_none()
            && body.reasoning.is_none()
            && body.usage.is_none()
            && body.model.is_none()
            && body.metadata.is_empty();
        (!plain).then(|| Extra {
            tool_calls: body.tool_calls.clone(),
            tool_call_id: body.tool_call_id.clone(),
            reasoning: body.reasoning.clone(),
            usage: body.usage,
            model: body.model.clone(),
            metadata: body.metadata.clone(),
        })
    }

    /// The message again.
    pub fn into_body(self, role: Role, content: Content) -> NewMessage {
        NewMessage {
            role,
            content,
            tool_calls: self.tool_calls,
            tool_call_id: self.tool_call_id,
            reasoning: self.reasoning,
            usage: self.usage,
            model: self.model,
            metadata: self.metadata,
        }
    }
}

/// ` AND m.role IN (…)`, or nothing for all roles. The words are ours, so they may stand in the text.
pub fn role_condition(roles: &[Role]) -> String {
    if roles.is_empty() {
        return String::new();
    }
    let words: Vec<String> = roles.iter().map(|role| format!("'{}'", role.as_str())).collect();
    format!(" AND m.role IN ({})", words.join(", "))
}

/// The word of a kind of failure; what was not found is named after a colon.
pub fn error_word(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::NotFound(noun) => format!("{}:{}", kind.word(), noun.word()),
        _ => kind.word().to_owned(),
    }
}

/// The kind that [`error_word`] named; unknown words are internal failures.
pub fn error_kind(text: &str) -> ErrorKind {
    const NOUNS: [Noun; 8] = [
        Noun::Agent,
        Noun::ConfigSection,
        Noun::Device,
        Noun::Model,
        Noun::Provider,
        Noun::Run,
        Noun::Session,
        Noun::Token,
    ];
    match text.strip_prefix("not_found:") {
        Some(word) => {
            NOUNS.into_iter().find(|noun| noun.word() == word).map_or(ErrorKind::Internal, ErrorKind::NotFound)
        }
        None => ErrorKind::from_word(text),
    }
}
