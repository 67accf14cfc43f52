//! The gateway's configuration, as operators see it. Secrets never leave it.

pub mod get;
pub mod reload;
pub mod schema;
pub mod validate;
