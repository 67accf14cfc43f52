//! One turn: what it needs, and how it ended.

use model::{ClientTools, EndReason, ModelRef, NewMessage, RunError, Thinking, ToolCall, Usage};
use providers::Sampling;
use tools::{CheckedTool, ToolContext};

/// A tool call of the last written step that has no result yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    pub call: ToolCall,
    /// It was begun before the gateway stopped: its outcome is unknown.
    pub was_started: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnLimits {
    /// Model calls; the turn fails at the limit.
    pub iterations: u32,
    /// Tokens over all model calls; `None` = no limit.
    pub tokens: Option<u64>,
    /// Characters of a tool's output that the model is shown; longer output is cut in the middle.
    pub tool_output_chars: usize,
}

/// Everything one turn needs. `history` ends with the user message or the result of a client's tool,
/// or with what was written of the turn before a restart.
pub struct Turn {
    /// The model asked for, then its fallbacks.
    pub candidates: Vec<ModelRef>,
    pub system: String,
    pub history: Vec<NewMessage>,
    pub open_calls: Vec<OpenCall>,
    pub tools: Vec<CheckedTool>,
    /// Shown to the model beside `tools`, none of which has the same name. They are not run here: a
    /// call of one ends the turn.
    pub client_tools: ClientTools,
    pub context: ToolContext,
    pub thinking: Thinking,
    pub sampling: Sampling,
    pub limits: TurnLimits,
    /// Done before a restart.
    pub iterations: u32,
    pub usage: Usage,
}

/// How the turn came to its end; the final message, where there is one, is not yet written down.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnEnd {
    Completed {
        message: NewMessage,
        reason: EndReason,
    },
    /// The model wants tools called that only the client can run. The answer that asks for them is
    /// the last step written; the agent's own calls in it have been run, with their results.
    HandedBack {
        /// The text of that answer.
        text: String,
        /// The client's calls in their order, at least one.
        calls: Vec<ToolCall>,
        /// `Length` when the answer was cut off, so that the last call may be half of one.
        reason: EndReason,
    },
    /// `partial` holds the text of the answer that was cut off, if any.
    Cancelled {
        partial: Option<NewMessage>,
    },
    Failed {
        error: RunError,
        partial: Option<NewMessage>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct TurnOutcome {
    pub end: TurnEnd,
    /// The model that answered last; `None` when none was reached.
    pub model: Option<ModelRef>,
    pub iterations: u32,
    pub usage: Usage,
}
