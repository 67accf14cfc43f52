//! The dialect on a real socket.

#![allow(clippy::unwrap_used, reason = "the whole crate is tests")]

mod access;
mod agents;
mod chat;
mod contract;
mod events;
mod limits;
mod rpc;
mod socket;
mod streams;
mod support;
mod transcripts;
