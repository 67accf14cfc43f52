//! A whole conversation as exports hold it.

use model::{Content, Message, OpError, Session, SessionSettings, Timestamp};
use ops::Call;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use services::sessions::MessagePage;

/// A message of a transcript.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    id: String,
    /// `system`, `user`, `assistant` or `tool`.
    role: &'static str,
    /// A string, or parts when the message is not only text.
    content: Content,
    /// Unix milliseconds.
    timestamp: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<model::ToolCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
}

impl From<Message> for Entry {
    fn from(message: Message) -> Self {
        Self {
            id: message.id.to_string(),
            role: message.body.role.as_str(),
            content: message.body.content,
            timestamp: message.created_at.as_ms(),
            tool_calls: message.body.tool_calls,
            tool_call_id: message.body.tool_call_id,
            run_id: message.run_id.map(|id| id.to_string()),
        }
    }
}

/// A conversation with what its user chose for it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transcript {
    /// Oldest first, all roles.
    pub messages: Vec<Entry>,
    /// Label, model, reasoning and the like, as far as chosen.
    pub metadata: Value,
    pub message_count: usize,
}

/// All messages of the present transcript.
pub(super) async fn messages(call: &Call, session: &Session) -> Result<Vec<Message>, OpError> {
    let history = call.services.sessions.history(&session.key, MessagePage::default()).await?;
    Ok(history.map(|history| history.messages).unwrap_or_default())
}

pub(super) async fn transcript(call: &Call, session: &Session) -> Result<Transcript, OpError> {
    let messages: Vec<Entry> = messages(call, session).await?.into_iter().map(Entry::from).collect();
    Ok(Transcript { message_count: messages.len(), messages, metadata: metadata(&session.settings)? })
}

fn metadata(settings: &SessionSettings) -> Result<Value, OpError> {
    serde_json::to_value(settings).map_err(OpError::internal)
}

/// A conversation on its own, with its name and times.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Export {
    session_key: String,
    #[serde(flatten)]
    transcript: Transcript,
    /// Unix milliseconds.
    created_at: Timestamp,
    /// Unix milliseconds.
    updated_at: Timestamp,
}

pub(super) async fn export(call: &Call, session: &Session, name: String) -> Result<Export, OpError> {
    let transcript = transcript(call, session).await?;
    Ok(Export { session_key: name, transcript, created_at: session.created_at, updated_at: session.updated_at })
}
