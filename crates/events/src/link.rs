//! How the nodes of a cluster speak to each other.
//!
//! A link carries small messages from each node to all others: quickly, in the order in which a node
//! sent them, and without a promise. Whatever must not be lost is in the store; a message only says
//! where to look, or carries what nobody misses for long.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Out of reach, or restarting. The link tries again by itself.
    #[error("the bus cannot be reached: {0}")]
    Unavailable(String),
    /// It will not work however often it is tried.
    #[error("{0}")]
    Refused(String),
}

/// What a node hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Message(Bytes),
    /// Messages may be missing from here back; look into the store.
    Gap,
}

#[async_trait]
pub trait Link: Send + Sync + 'static {
    /// Sends a message of at most [`Link::message_max`] bytes to every other node. An error says that
    /// it did not leave; without one it may still get lost.
    async fn send(&self, message: Bytes) -> Result<(), LinkError>;

    /// Connects for the cluster of this id, and gives what the other nodes send from now on; a node may
    /// hear itself. A link that is out of reach connects as soon as it can, and is no error;
    /// [`LinkError::Refused`] when it cannot be used, such as when it is another cluster's. Called once.
    async fn open(&self, cluster: &str) -> Result<mpsc::Receiver<Heard>, LinkError>;

    /// In bytes.
    fn message_max(&self) -> usize;

    /// Whether messages get through just now, as far as is known.
    fn is_up(&self) -> bool;

    /// Ends the connection.
    async fn close(&self);

    /// For people: `nats://127.0.0.1:4222`; never holds a password.
    fn describe(&self) -> String;
}
