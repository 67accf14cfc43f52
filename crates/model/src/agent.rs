//! Agents as configured.

use std::path::PathBuf;

use crate::id::AgentId;
use crate::model_ref::ModelRef;
use crate::thinking::Thinking;

/// An agent: who answers in its sessions, and with what.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    pub id: AgentId,
    pub name: String,
    pub description: String,
    /// Absent when neither the agent nor the gateway names one and no provider is configured.
    pub model: Option<ModelRef>,
    /// Tried in order when the model fails for good.
    pub fallbacks: Vec<ModelRef>,
    pub system_prompt: Option<String>,
    pub thinking: Thinking,
    /// The only folder its file tools reach.
    pub workspace: PathBuf,
    /// Names of the tools it may use; absent = all built-in ones.
    pub tools: Option<Vec<String>>,
    pub enabled: bool,
    pub identity: AgentIdentity,
}

/// How an agent presents itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentIdentity {
    pub name: Option<String>,
    pub emoji: Option<String>,
    pub avatar: Option<String>,
    pub theme: Option<String>,
}
