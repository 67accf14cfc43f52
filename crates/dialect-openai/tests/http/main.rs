//! The routes on real sockets, against scripted providers.
#![allow(clippy::unwrap_used, reason = "what a test helps itself with may panic as the test does")]

mod agents;
mod auth;
mod client_tools;
mod embeddings;
mod models;
mod relay;
mod responses;
mod support;
mod translated;
