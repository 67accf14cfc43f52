//! The settings of the domains, and how operations ask for the configuration as a whole.

use async_trait::async_trait;
use model::{OpError, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `[sessions]`: how conversations are named, shortened and forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionRules {
    /// Which session a direct message belongs to when the client names none.
    pub dm_scope: DmScope,
    /// Days after which an idle session is removed; 0 = never.
    pub expiry_days: u32,
    pub compaction: CompactionRules,
    /// Days that events are kept for clients that resume.
    pub event_retention_days: u32,
    /// Events kept at most.
    pub event_retention_max: u64,
}

impl Default for SessionRules {
    fn default() -> Self {
        Self {
            dm_scope: DmScope::PerPeer,
            expiry_days: 30,
            compaction: CompactionRules::default(),
            event_retention_days: 7,
            event_retention_max: 1_000_000,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DmScope {
    /// All direct messages share `agent:<agent>:main`.
    Main,
    PerPeer,
    PerChannelPeer,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CompactionRules {
    pub enabled: bool,
    /// Tokens of a session after a run beyond which it is compacted by itself.
    pub threshold: u64,
    /// Newest messages that are always kept.
    pub keep_recent: u32,
}

impl Default for CompactionRules {
    fn default() -> Self {
        Self { enabled: true, threshold: 50_000, keep_recent: 10 }
    }
}

/// `[limits]`: bounds of runs and queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Messages that may wait behind the active run of a session.
    pub session_queue: u32,
    /// Follow-up inputs that may wait for a run's next step.
    pub run_inputs: u32,
    /// Model calls of one run.
    #[schemars(range(min = 1))]
    pub max_iterations: u32,
    /// Wall time of one run in seconds; 0 = none.
    pub run_timeout_secs: u64,
    /// Tokens of one run over all its model calls; 0 = none.
    pub run_tokens: u64,
    /// Characters of a tool's output that the model is shown.
    pub tool_output_chars: u32,
    /// Seconds that running turns get to finish when the gateway stops; what is left goes on after the next start.
    pub drain_secs: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            session_queue: 20,
            run_inputs: 16,
            max_iterations: 25,
            run_timeout_secs: 600,
            run_tokens: 0,
            tool_output_chars: 30_000,
            drain_secs: 5,
        }
    }
}

/// A remark on one key of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConfigRemark {
    /// Dotted path; empty when the text as a whole is at fault.
    pub path: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigCheck {
    pub errors: Vec<ConfigRemark>,
    pub warnings: Vec<ConfigRemark>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigReload {
    /// Dotted leaf paths, sorted.
    pub changed_keys: Vec<String>,
    pub source: String,
    /// First segments of the changed keys that take effect only after a restart, sorted.
    pub restart_components: Vec<String>,
}

/// The configuration in use, as the binary holds it. Secrets never come out of it.
#[async_trait]
pub trait GatewayConfig: Send + Sync + 'static {
    /// The effective configuration with secrets redacted.
    fn effective(&self) -> Value;
    /// Path of the file, or `defaults`.
    fn source(&self) -> String;
    fn loaded_at(&self) -> Timestamp;
    fn schema(&self) -> Value;
    /// Checks an object, or a TOML or JSON text; applies nothing.
    fn check(&self, config: &Value) -> ConfigCheck;
    /// Reads the file anew and applies it; on any error the running configuration stays.
    async fn reload(&self) -> Result<ConfigReload, OpError>;
}
