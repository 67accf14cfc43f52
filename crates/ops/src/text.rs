//! Shapes that several operations share on the wire.

use base64::Engine;
use model::{Content, Message, OpError, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A file sent along with a message.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Attachment {
    pub name: String,
    pub mime_type: String,
    /// Base64.
    pub data: String,
}

/// Characters of one attached text file that become part of the message.
const FILE_CHARS_MAX: usize = 20_000;
/// Characters of all attached text files together.
const FILES_CHARS_MAX: usize = 80_000;

/// The content of a message with its attachments: pictures as parts, text files inlined below the
/// text, other files as parts for models that read them.
pub fn content_with(message: &str, attachments: &[Attachment]) -> Result<Content, OpError> {
    if attachments.is_empty() {
        return Ok(message.into());
    }
    let mut text = message.to_owned();
    let mut parts = Vec::new();
    let mut left = FILES_CHARS_MAX;
    for (index, attachment) in attachments.iter().enumerate() {
        let decoded = base64::engine::general_purpose::STANDARD.decode(attachment.data.as_bytes());
        let bytes = decoded.map_err(|_| OpError::invalid(format!("attachments[{index}].data"), "is not base64"))?;
        let mime_type = attachment.mime_type.to_ascii_lowercase();
        if mime_type.starts_with("image/") {
            parts.push(Part::Image { mime_type, data: Some(attachment.data.clone()), url: None });
        } else if mime_type.starts_with("audio/") {
            parts.push(Part::Audio { mime_type, data: attachment.data.clone() });
        } else if let Ok(file) = String::from_utf8(bytes)
            && !mime_type.starts_with("application/pdf")
        {
            let chars: String = file.chars().take(FILE_CHARS_MAX.min(left)).collect();
            left -= chars.chars().count();
            text.push_str(&format!("\n\nAttached file context: {}\n{chars}", attachment.name));
            let cut = file.chars().count() - chars.chars().count();
            if cut > 0 {
                text.push_str(&format!("\n[...truncated {cut} chars]"));
            }
        } else {
            parts.push(Part::File { name: attachment.name.clone(), mime_type, data: attachment.data.clone() });
        }
    }
    if parts.is_empty() {
        return Ok(text.into());
    }
    parts.insert(0, Part::Text { text });
    Ok(parts.into())
}

/// A call that an assistant message asked for.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ToolCallView {
    pub id: String,
    pub name: String,
    /// JSON text as the model wrote it.
    pub arguments: String,
}

/// A message of a transcript.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MessageView {
    pub id: String,
    /// `system`, `user`, `assistant` or `tool`.
    pub role: &'static str,
    /// A string, or parts when the message is not only text.
    pub content: Content,
    /// Unix milliseconds.
    pub timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        let body = message.body;
        let tool_calls = body
            .tool_calls
            .into_iter()
            .map(|call| ToolCallView { id: call.id, name: call.name, arguments: call.arguments })
            .collect();
        Self {
            id: message.id.to_string(),
            role: body.role.as_str(),
            content: body.content,
            timestamp: message.created_at.as_ms(),
            run_id: message.run_id.map(|id| id.to_string()),
            tool_calls,
            tool_call_id: body.tool_call_id,
            metadata: body.metadata,
        }
    }
}
