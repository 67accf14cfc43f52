//! What tests of this crate and of others use in place of a vendor.
//!
//! [`ScriptedProvider`] stands in for a whole provider and needs no socket.

pub mod scripted;

pub use scripted::{Gate, Scripted, ScriptedProvider, Step};
