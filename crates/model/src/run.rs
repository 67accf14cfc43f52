//! Runs: one agent turn, from the accepted message to exactly one terminal state.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::id::{AgentId, InputId, MessageId, RunId, SessionId};
use crate::message::Usage;
use crate::model_ref::ModelRef;
use crate::node::Fence;
use crate::session::SessionKey;
use crate::thinking::Thinking;
use crate::tool::ClientTools;

/// `pending → running → completed | cancelled | failed`; never back, never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Pending,
    Running,
    Completed,
    Cancelled,
    Failed,
}

impl RunState {
    pub const ALL: [RunState; 5] =
        [RunState::Pending, RunState::Running, RunState::Completed, RunState::Cancelled, RunState::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            RunState::Pending => "pending",
            RunState::Running => "running",
            RunState::Completed => "completed",
            RunState::Cancelled => "cancelled",
            RunState::Failed => "failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    pub const fn is_over(self) -> bool {
        matches!(self, RunState::Completed | RunState::Cancelled | RunState::Failed)
    }
}

/// Why a completed run stopped producing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The model said all it had to say.
    Stop,
    /// The output limit cut the answer.
    Length,
    /// The model asked for tools that the client runs.
    ToolCalls,
    /// The vendor's filter withheld the answer.
    ContentFilter,
    /// A local command answered; no model was asked.
    Command,
}

impl EndReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            EndReason::Stop => "stop",
            EndReason::Length => "length",
            EndReason::ToolCalls => "tool_calls",
            EndReason::ContentFilter => "content_filter",
            EndReason::Command => "command",
        }
    }
}

/// Who or what stopped a cancelled run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// A client asked by a method call.
    User,
    /// A stop word in the conversation.
    StopCommand,
    SessionDeleted,
    SessionReset,
    /// The run's own time limit.
    Timeout,
    Shutdown,
    /// The client that the answer was for went away.
    ClientGone,
}

/// The failure that ended a run, in words fit for its user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    pub kind: ErrorKind,
    pub message: String,
}

/// Bounds of one run; absent = the gateway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunLimits {
    /// Wall time from start to end, in milliseconds; 0 = none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Model calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u32>,
    /// Tokens over all model calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Tokens of each answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u32>,
}

/// A question that a run waits on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitingInput {
    pub input_id: InputId,
    pub prompt: String,
    pub options: Vec<String>,
}

/// What was asked of a run and must outlive a restart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunOptions {
    /// `provider/model` asked for by the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    pub limits: RunLimits,
    /// Appended to the system text of this run only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Delta events are wanted by the client that started it.
    pub quiet: bool,
    /// Names of the tools this run may use; absent = the agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Tools that the client runs itself; a call of one of them ends the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_tools: Option<ClientTools>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub session_key: SessionKey,
    pub session_id: SessionId,
    pub agent_id: AgentId,
    pub state: RunState,
    /// The user message that it answers.
    pub message_id: MessageId,
    /// Id of the principal that started it.
    pub started_by: String,
    /// Where it came from: `aleph`, `comis`, `argent`, `openai`, later a channel or a job.
    pub origin: String,
    pub options: RunOptions,
    /// The model in use; absent until it starts.
    pub model: Option<ModelRef>,
    pub accepted_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Model calls so far.
    pub iterations: u32,
    pub usage: Usage,
    /// Next number of the run's own event sequence.
    pub next_seq: u64,
    pub end_reason: Option<EndReason>,
    pub stop_cause: Option<StopCause>,
    pub error: Option<RunError>,
    /// The final text; also the partial text of a cancelled run.
    pub response: Option<String>,
    pub awaiting: Option<AwaitingInput>,
    /// The node that drives it. All unfinished runs of a session have one owner.
    pub owner: Fence,
}

impl Run {
    /// A run that waits, of which nothing is known yet but whose it is; the caller adds what it knows.
    pub fn pending(
        id: RunId,
        session_key: SessionKey,
        message_id: MessageId,
        accepted_at: Timestamp,
        owner: Fence,
    ) -> Run {
        Run {
            id,
            agent_id: session_key.agent(),
            session_key,
            session_id: SessionId::trusted(""),
            state: RunState::Pending,
            message_id,
            started_by: String::new(),
            origin: String::new(),
            options: RunOptions::default(),
            model: None,
            accepted_at,
            started_at: None,
            ended_at: None,
            iterations: 0,
            usage: Usage::default(),
            next_seq: 0,
            end_reason: None,
            stop_cause: None,
            error: None,
            response: None,
            awaiting: None,
            owner,
        }
    }
}
