//! Methods of `/ws` and `/rpc`, one file for each namespace, or for each group of a long one.

pub(crate) mod agent;
pub(crate) mod session;
pub(crate) mod system;
