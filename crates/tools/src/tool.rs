//! The trait that every tool implements.

use async_trait::async_trait;
use serde_json::Value;

use crate::context::ToolContext;

#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// 1 to 64 characters of `a-z 0-9 _`.
    fn name(&self) -> &'static str;

    /// For the model: what it does, when to use it, its limits.
    fn description(&self) -> &'static str;

    /// JSON Schema of the arguments, an object.
    fn parameters(&self) -> Value;

    /// Running it twice does no harm: after a crash it is simply run again. A call of any other
    /// tool whose outcome is unknown is reported to the model as interrupted.
    fn is_repeatable(&self) -> bool;

    /// No other call of the same answer runs at the same time. Tools that change something, or
    /// that occupy the user, run alone.
    fn runs_alone(&self) -> bool {
        !self.is_repeatable()
    }

    /// `arguments` match [`Tool::parameters`]. Must end soon after `context.cancel` fires.
    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolError>;
}

/// What the model is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutput {
    pub text: String,
}

/// A failure that the model is told and can react to; the run goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The arguments are not usable; names the argument and its value.
    #[error("{0}")]
    Invalid(String),
    /// Outside of what the agent may touch.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
    /// The run was cancelled while the tool ran.
    #[error("cancelled")]
    Cancelled,
}
