//! The nodes that share the gateway's database.

pub mod status;
