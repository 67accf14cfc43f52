//! What tests of this crate and of others use in place of a vendor.
//!
//! [`ScriptedProvider`] stands in for a whole provider and needs no socket. [`ScriptedServer`] is a
//! vendor's end of a real connection, which fails in every way a network can. [`suite::run`] is what
//! every adapter must pass.

pub mod fixtures;
pub mod scripted;
pub mod server;
pub mod suite;

pub use scripted::{Gate, Scripted, ScriptedProvider, Step};
pub use server::{Piece, Reply, ScriptedServer, Seen};

/// Installs the TLS provider of the process, which every HTTP client needs. May be called many times.
pub fn install_tls() {
    // The second call of a process finds the first one's provider, which is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
