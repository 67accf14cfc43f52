//! Model providers: one trait, one module for each vendor's wire, and the router that picks among
//! them with retries, fallbacks and cooldown.
//!
//! Knows nothing of runs, sessions or the gateway's own wires. Read [`Provider`] first, then
//! [`Router`]. Every adapter passes the suite in `testkit`.
//!
//! Whoever makes an adapter installs the TLS provider of the process before.

pub mod anthropic;
pub mod build;
pub(crate) mod calls;
pub mod chat;
pub(crate) mod effort;
pub(crate) mod embedding;
pub mod environment;
pub mod error;
pub mod fault;
pub mod framing;
pub mod gemini;
pub(crate) mod http;
pub(crate) mod known;
pub mod ollama;
pub mod openai;
pub mod openai_responses;
pub(crate) mod parts;
pub(crate) mod presets;
pub mod provider;
pub mod registry;
pub mod router;
#[cfg(test)]
pub(crate) mod sample;
pub mod settings;
pub(crate) mod stream;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

pub use build::build;
pub use chat::{ChatRequest, ChatStream, Chunk, FinishReason, ResponseFormat, Sampling, ToolChoice, ToolSpec};
pub use environment::{found_in_environment, ollama_is_up};
pub use error::{ProviderError, ProviderErrorKind};
pub use provider::{Capabilities, Embeddings, Forwarded, ModelInfo, ModelSource, Provider};
pub use registry::{Catalogue, CatalogueModel, Registry};
pub use router::{Opened, RetryPolicy, Router};
pub use settings::{ModelSettings, ProviderKind, ProviderSettings, validate};
