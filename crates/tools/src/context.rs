//! What a tool may know and use.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use model::{AgentId, Clock, RunId, SessionKey, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::error::ToolError;

#[derive(Clone)]
pub struct ToolContext {
    pub agent: AgentId,
    pub session: SessionKey,
    pub run: RunId,
    /// The only folder that file tools reach; made when it is missing.
    pub workspace: PathBuf,
    /// The node whose folder that is, where there are others with folders of their own.
    pub node: Option<Arc<str>>,
    /// Fires when the run is cancelled.
    pub cancel: CancellationToken,
    pub clock: Arc<dyn Clock>,
    pub user: Arc<dyn AskUser>,
    pub sessions: Arc<dyn SessionSearch>,
}

/// A question to the person behind the run; the run waits for the answer.
#[async_trait]
pub trait AskUser: Send + Sync {
    /// Returns the user's words, or [`ToolError::Cancelled`] when the run ends first.
    async fn ask(&self, run: &RunId, prompt: &str, options: &[String]) -> Result<String, ToolError>;
}

#[derive(Debug, Clone, PartialEq)]
pub struct SearchHit {
    pub session: SessionKey,
    pub role: &'static str,
    pub snippet: String,
    pub at: Timestamp,
}

/// Full-text search over the agent's own sessions.
#[async_trait]
pub trait SessionSearch: Send + Sync {
    /// Best first, at most `limit` (1..=50).
    async fn search(&self, agent: &AgentId, text: &str, limit: u32) -> Result<Vec<SearchHit>, ToolError>;
}
