//! What the tests share: a gateway, clients, and transcripts.

mod client;
mod gateway;
pub mod transcript;

pub use client::{Http, Reply, Socket, Stream};
pub use gateway::{Gateway, START_MS, TOKENS, secret};

use std::time::Duration;

/// Nothing that a test waits for takes this long; a hang becomes a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}
