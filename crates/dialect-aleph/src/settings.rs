//! `[aleph]`: what only this dialect knows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlephSettings {
    /// Web origins that may connect besides those of this machine.
    pub allowed_origins: Vec<String>,
    /// Largest message in bytes.
    pub max_message_bytes: usize,
    /// Connections at a time; beyond it an upgrade is refused. The published default is 1000; one costs less than 10 KiB here.
    pub max_connections: u32,
    /// How long a session token holds, in milliseconds.
    pub token_expiry_ms: u64,
    /// A connection that never subscribed receives the events of the runs it started.
    pub implicit_run_events: bool,
    /// Under which topics text deltas are sent to wildcard subscribers.
    pub chunk_topics: ChunkTopics,
    pub rate_limit: RateLimit,
    /// Credentials of this dialect besides the common ones.
    pub tokens: Vec<AlephToken>,
}

impl Default for AlephSettings {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            max_message_bytes: 16 * 1024 * 1024,
            max_connections: 10_000,
            token_expiry_ms: 86_400_000,
            implicit_run_events: true,
            chunk_topics: ChunkTopics::Both,
            rate_limit: RateLimit::default(),
            tokens: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChunkTopics {
    #[default]
    Both,
    /// `stream.chunk` alone.
    Chunk,
    /// `stream.token` alone.
    Token,
}

/// Calls of one identity in 60 seconds, by class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    /// Peers on this machine are not limited.
    pub exempt_loopback: bool,
    /// Failed `connect`s, then five minutes of refusal.
    pub auth: u32,
    pub default: u32,
    pub write: u32,
    pub heavy: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { exempt_loopback: true, auth: 10, default: 100, write: 20, heavy: 5 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlephToken {
    pub token: model::Secret,
    /// `operator` or `node`.
    pub role: Role,
    #[serde(default)]
    pub client_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Operator,
    Node,
}
