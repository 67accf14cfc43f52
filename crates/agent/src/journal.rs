//! Where a turn writes down what it does.

use async_trait::async_trait;
use model::{ModelRef, NewMessage, ToolCall, Usage};

/// The journal could not write; the turn stops at once and is continued after the next start.
#[derive(Debug, thiserror::Error)]
#[error("the step could not be written down")]
pub struct JournalError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A model answer that is not the last one: it asks for tools, or more input came while it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The assistant message, with its tool calls, if any.
    pub message: NewMessage,
    /// Model calls and tokens of the turn so far, this answer included.
    pub iterations: u32,
    pub usage: Usage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutcome {
    /// What the model is told.
    pub text: String,
    pub is_error: bool,
    /// The gateway died while the tool ran and nobody knows what it did.
    pub interrupted: bool,
}

#[async_trait]
pub trait Journal: Send + Sync {
    /// The model that answers, told before its first delta and again when a fallback takes over.
    async fn model_chosen(&self, model: &ModelRef) -> Result<(), JournalError>;

    /// More text of the answer in progress. Not written down.
    fn text(&self, delta: &str);

    /// More reasoning of the answer in progress. Not written down.
    fn reasoning(&self, delta: &str);

    /// Written before any of the step's tools starts.
    async fn step(&self, step: &Step) -> Result<(), JournalError>;

    /// Written before the tool starts.
    async fn tool_started(&self, call: &ToolCall) -> Result<(), JournalError>;

    /// Written when the tool has ended; adds the tool message to the transcript. Also told, with no
    /// `tool_started` before it, of a call that never began because the run was cancelled, and of
    /// one that was begun before a restart.
    async fn tool_ended(&self, call: &ToolCall, outcome: &ToolOutcome, duration_ms: u64) -> Result<(), JournalError>;

    /// Whether the next [`Journal::take_inputs`] would give something. Asked when the answer is
    /// whole: if so, the answer becomes a step and the turn goes on, else the turn is over.
    fn has_inputs(&self) -> bool {
        false
    }

    /// Follow-up input that arrived since the last question, now part of the transcript.
    async fn take_inputs(&self) -> Result<Vec<NewMessage>, JournalError>;

    /// The conversation is about to outgrow the model's window: shorten what is stored and give
    /// back the new conversation (without system text), or `None` when nothing can be gained.
    /// Dropped before its end when the run is cancelled.
    async fn compact(&self) -> Result<Option<Vec<NewMessage>>, JournalError>;
}
