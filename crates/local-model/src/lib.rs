//! The embedded default chat model and embedder: weights on disk, an engine in pure Rust, a provider.
//!
//! It exists so that a fresh installation answers without a key and finds its memories by meaning. It knows
//! nothing of sessions, runs or wires. Read [`LocalProvider`] first, then [`install`](mod@install);
//! inside, `generate` writes one answer and `grammar` keeps it to a schema.
//!
//! A call of [`priority::reserve_cores`] at the very start of `main` leaves a core to the gateway.

mod call_out;
pub mod catalogue;
mod chat_model;
mod chat_service;
mod embed_service;
mod embedder;
mod error;
mod generate;
mod grammar;
pub mod install;
mod llama;
pub mod manifest;
mod opening;
pub mod priority;
mod prompt;
mod provider;
mod repack;
mod sampler;
mod template;
mod text_out;
mod vocabulary;
mod worker;

pub use catalogue::{CatalogueEntry, ModelKind, Source, SourceFile, catalogue};
pub use error::EngineError;
pub use install::{InstallError, Installer, Progress, Silent, add, install, remove};
pub use manifest::{Installed, InstalledFile, Manifest, list};
pub use provider::{LocalProvider, LocalSettings};

#[cfg(test)]
mod tiny;
