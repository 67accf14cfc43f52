//! How a call of a tool fails.

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
    /// A file that is not in the workspace; another node may have it.
    #[error("`{0}` does not exist")]
    NoFile(String),
    /// The run was cancelled while the tool ran.
    #[error("cancelled")]
    Cancelled,
}
