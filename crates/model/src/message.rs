//! Messages of a transcript and what they are made of.
//!
//! Text and parts are shared: a copy of a message costs no copy of what it says, and a long
//! conversation is handed on whole at each step of a turn.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::id::{MessageId, RunId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }

    pub fn parse(text: &str) -> Option<Role> {
        [Role::System, Role::User, Role::Assistant, Role::Tool].into_iter().find(|role| role.as_str() == text)
    }
}

/// A string, or parts when a message is not only text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Content {
    Text(Arc<str>),
    Parts(Arc<[Part]>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    Text {
        text: String,
    },
    /// Base64 `data`, or a `url` that the provider fetches.
    Image {
        mime_type: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    /// Base64.
    Audio {
        mime_type: String,
        data: String,
    },
    /// Base64.
    File {
        name: String,
        mime_type: String,
        data: String,
    },
}

impl Default for Content {
    fn default() -> Self {
        Content::Text(Arc::from(""))
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Content::Text(text.into())
    }
}

impl From<Vec<Part>> for Content {
    fn from(parts: Vec<Part>) -> Self {
        Content::Parts(parts.into())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Content::Text(text.into())
    }
}

impl Content {
    /// The text of all text parts, joined by newlines.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Content::Text(text) => (&**text).into(),
            Content::Parts(parts) => {
                let texts: Vec<&str> = parts
                    .iter()
                    .filter_map(|part| if let Part::Text { text } = part { Some(text.as_str()) } else { None })
                    .collect();
                texts.join("\n").into()
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Content::Text(text) => text.is_empty(),
            Content::Parts(parts) => parts.is_empty(),
        }
    }
}

/// A call that the model asked for. `arguments` is the model's own text: it may not be JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

/// Tokens of one or more model calls. `input` includes what was read from a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    /// The part of `output` that was reasoning.
    pub reasoning: u64,
}

impl Usage {
    pub const fn total(&self) -> u64 {
        self.input + self.output
    }

    #[must_use]
    pub const fn plus(self, other: Usage) -> Usage {
        Usage {
            input: self.input + other.input,
            output: self.output + other.output,
            cache_read: self.cache_read + other.cache_read,
            cache_write: self.cache_write + other.cache_write,
            reasoning: self.reasoning + other.reasoning,
        }
    }
}

/// What a message says, before it has a place in a transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewMessage {
    pub role: Role,
    pub content: Content,
    /// What the model wants called; only on assistant messages.
    pub tool_calls: Vec<ToolCall>,
    /// The call that this tool message answers.
    pub tool_call_id: Option<String>,
    /// Reasoning text and the vendor's opaque blocks, sent back to the same vendor on the next call.
    pub reasoning: Option<Reasoning>,
    pub usage: Option<Usage>,
    /// `provider/model` that wrote it.
    pub model: Option<Arc<str>>,
    /// Open facts such as `partial: true` or `stop_reason`.
    pub metadata: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reasoning {
    pub text: String,
    /// The vendor's blocks, byte for byte as JSON, for instance signed thinking blocks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Value>,
}

impl NewMessage {
    pub fn new(role: Role, content: impl Into<Content>) -> Self {
        Self {
            role,
            content: content.into(),
            tool_calls: Vec::new(),
            tool_call_id: None,
            reasoning: None,
            usage: None,
            model: None,
            metadata: Map::new(),
        }
    }

    pub fn user(content: impl Into<Content>) -> Self {
        Self::new(Role::User, content)
    }

    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new(Role::Assistant, content)
    }

    pub fn system(content: impl Into<Content>) -> Self {
        Self::new(Role::System, content)
    }

    pub fn tool_result(call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self { tool_call_id: Some(call_id.into()), ..Self::new(Role::Tool, content) }
    }

    /// The provider's count of what this message added when it is known, else characters / 4.
    pub fn token_estimate(&self) -> u64 {
        if let Some(usage) = self.usage
            && usage.output > 0
        {
            return usage.output;
        }
        let mut bytes = self.tool_calls.iter().map(|call| call.name.len() + call.arguments.len()).sum::<usize>();
        bytes += match &self.content {
            Content::Text(text) => text.chars().count(),
            Content::Parts(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text { text } => text.chars().count(),
                    // What vendors charge for a picture of common size.
                    Part::Image { .. } => 4 * 1000,
                    Part::Audio { data, .. } | Part::File { data, .. } => data.len() / 4,
                })
                .sum(),
        };
        u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
    }
}

impl NewMessage {
    /// What it holds, in bytes, roughly.
    pub fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Text(text) => text.len(),
            Content::Parts(parts) => parts.iter().map(Part::bytes).sum(),
        };
        let calls: usize =
            self.tool_calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum();
        let reasoning = self.reasoning.as_ref().map_or(0, |reasoning| {
            reasoning.text.len() + reasoning.blocks.iter().map(|block| block.to_string().len()).sum::<usize>()
        });
        content + calls + reasoning
    }
}

impl Part {
    fn bytes(&self) -> usize {
        match self {
            Part::Text { text } => text.len(),
            Part::Image { data, url, .. } => data.as_ref().map_or(0, String::len) + url.as_ref().map_or(0, String::len),
            Part::Audio { data, .. } | Part::File { data, .. } => data.len(),
        }
    }
}

/// A message in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: MessageId,
    /// Position in the transcript, from 1; a summary takes the place of what it replaced.
    pub seq: i64,
    pub run_id: Option<RunId>,
    pub created_at: Timestamp,
    pub body: NewMessage,
}
