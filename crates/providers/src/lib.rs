//! Model providers: one trait, one module for each vendor's wire, and the router that picks among
//! them with retries, fallbacks and cooldown.
//!
//! Knows nothing of runs, sessions or the gateway's own wires. Read [`Provider`] first, then
//! [`Router`]. Every adapter passes the suite in [`testkit`].

pub mod chat;
pub mod error;
pub mod provider;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

pub use chat::{ChatRequest, ChatStream, Chunk, FinishReason, ResponseFormat, Sampling, ToolChoice, ToolSpec};
pub use error::{ProviderError, ProviderErrorKind};
pub use provider::{Capabilities, Embeddings, Forwarded, ModelInfo, ModelSource, Provider};
