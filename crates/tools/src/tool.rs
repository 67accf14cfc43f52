//! The trait that every tool implements.

use async_trait::async_trait;
use serde_json::Value;

use crate::context::ToolContext;
pub use crate::error::ToolError;

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
