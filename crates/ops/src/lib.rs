//! What a caller can ask of the gateway: one file for each operation, whatever dialect calls it.
//!
//! A file holds the operation's name, scope, parameters, result, errors, documentation and handler.
//! A handler is a few lines: unpack, call one service, pack. Everything that lists methods is made
//! by walking these types. Read [`Operation`] first.

pub mod agent;
pub mod call;
pub mod chat;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod events;
pub mod models;
pub mod operation;
pub mod session;
pub mod text;
pub mod token;
pub mod utility;

pub use call::Call;
pub use connection::{Connection, Subscribed};
pub use operation::{Class, Operation, Reply};
