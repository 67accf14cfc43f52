//! Tool calls as they are written down: before they start, and after they end. And the tools that a
//! client brings along and runs itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::id::RunId;

/// A tool that the client runs itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientTool {
    pub name: String,
    pub description: String,
    /// JSON Schema of the arguments, an object.
    pub parameters: Value,
}

/// Which tools a model may or must call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    #[default]
    Auto,
    None,
    /// Some tool must be called.
    Required,
    /// This tool must be called.
    Named(String),
}

/// What a client brings along for one run beside the agent's own tools.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientTools {
    pub tools: Vec<ClientTool>,
    /// `None` hides the client's tools, not the agent's; what must be called holds until one of the
    /// client's tools is.
    pub choice: ToolChoice,
    /// Whether one answer may ask for several calls; absent = the vendor's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToolCallState {
    /// Asked for by the model, not begun: safe to begin after a crash.
    Pending,
    /// Begun; after a crash its outcome is unknown.
    Started,
    Succeeded,
    Failed,
    /// The gateway died while it ran; the model was told so.
    Interrupted,
}

impl ToolCallState {
    pub const ALL: [ToolCallState; 5] = [
        ToolCallState::Pending,
        ToolCallState::Started,
        ToolCallState::Succeeded,
        ToolCallState::Failed,
        ToolCallState::Interrupted,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            ToolCallState::Pending => "pending",
            ToolCallState::Started => "started",
            ToolCallState::Succeeded => "succeeded",
            ToolCallState::Failed => "failed",
            ToolCallState::Interrupted => "interrupted",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    pub const fn is_over(self) -> bool {
        matches!(self, ToolCallState::Succeeded | ToolCallState::Failed | ToolCallState::Interrupted)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ToolCallRecord {
    pub run_id: RunId,
    /// The model's id of the call, unique within the run.
    pub call_id: String,
    pub name: String,
    /// JSON text as the model wrote it.
    pub arguments: String,
    pub state: ToolCallState,
    /// What the model was told; absent until the call is over.
    pub result: Option<String>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}
