//! The log of durable events, as the bus asks for it.

use std::sync::Arc;

use async_trait::async_trait;
use model::{Cursor, Envelope};

#[derive(Debug, thiserror::Error)]
#[error("the event log cannot be read")]
pub struct LogError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What the log holds; an empty one has `oldest = newest + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub oldest: Cursor,
    pub newest: Cursor,
}

#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Events with a cursor greater than `after`, in order, at most `limit`.
    async fn page(&self, after: Cursor, limit: u32) -> Result<Vec<Arc<Envelope>>, LogError>;

    async fn bounds(&self) -> Result<Bounds, LogError>;
}
