//! What tests of the whole gateway stand on.
//!
//! [`TestGateway`] is a gateway on a temporary database with a scripted model and a clock that a
//! test moves; dialects are handed in, so that this crate names none of them. [`WsClient`] is the
//! other end of a socket, [`transcript`] plays text files against it, [`log`] holds the event log
//! to its promises, [`ScriptedStore`] fails where a database would. Nothing in here sleeps.

pub mod builder;
pub mod client;
pub mod cluster;
pub mod config;
pub mod contents;
pub mod gateway;
pub mod log;
pub mod proxy;
pub mod store;
pub mod transcript;

pub use builder::{Dialect, GatewayBuilder};
pub use client::{Incoming, WsClient};
pub use cluster::{Hub, SharedDatabase};
pub use config::ScriptedConfig;
pub use contents::Contents;
pub use gateway::TestGateway;
pub use proxy::CuttingProxy;
pub use store::ScriptedStore;

/// Monday, 2026-05-04T10:00:00Z: where the clock of a test stands at first.
pub const START_MS: i64 = 1_777_888_800_000;

/// How long anything in a test may take before it counts as lost.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Waits for what must come soon.
///
/// # Panics
/// When it does not come; `what` says what was missing.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing came within {} s", PATIENCE.as_secs()),
    }
}
