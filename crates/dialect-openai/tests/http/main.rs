//! The routes on real sockets, against scripted providers.

mod agents;
mod auth;
mod embeddings;
mod models;
mod relay;
mod support;
mod translated;
