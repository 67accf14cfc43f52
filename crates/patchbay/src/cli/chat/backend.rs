//! What a chat needs of a gateway, whether it runs elsewhere or in this process.

use std::convert::Infallible;

use async_trait::async_trait;
use serde_json::Value;

use crate::cli::failure::Failure;

/// A message that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub run_id: String,
    /// Another run of the session comes first.
    pub is_pending: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Completed,
    Cancelled,
    Failed(String),
}

/// What happens in the run of the last message.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnEvent {
    Started {
        /// `provider/model`
        model: String,
    },
    Text(String),
    ToolStarted {
        name: String,
        arguments: Value,
    },
    ToolEnded {
        name: String,
        /// What went wrong.
        error: Option<String>,
        duration_ms: u64,
    },
    Question {
        prompt: String,
        options: Vec<String>,
    },
    Ended {
        outcome: Outcome,
        /// The last message of the run; absent where the gateway did not tell it.
        response: Option<String>,
    },
}

#[async_trait]
pub trait Backend: Send {
    /// One operation, in the gateway's own protocol.
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure>;

    /// `chat.send`; from here on [`Backend::next`] tells of the run.
    async fn send(&mut self, params: Value) -> Result<Sent, Failure>;

    /// Cancel safe. Nothing comes after `Ended` until the next message is sent.
    async fn next(&mut self) -> Result<TurnEvent, Failure>;

    /// What users must know of a model, if anything.
    async fn notice(&mut self, model: &str) -> Option<String>;

    /// Waits while the person types; never returns.
    async fn idle(&mut self) -> Infallible;

    async fn close(self: Box<Self>);
}
