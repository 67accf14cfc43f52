//! What the dialects share: tables of methods, parameters from raw JSON, the loop of a WebSocket
//! connection, and the writers of machine-readable contracts.
//!
//! A dialect crate binds operations to wire names in a [`MethodTable`], says how its frames look in
//! a [`socket::Protocol`], and how events are told in a projection. Read [`table`] first.

pub mod contract;
pub mod contract_http;
pub mod depth;
pub mod http;
pub mod origin;
pub mod params;
pub mod peer;
pub mod socket;
pub mod table;
mod words;

pub use table::{Answer, Method, MethodTable, Params};
