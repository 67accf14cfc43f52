//! Talking HTTP to a vendor: one pooled client for each provider, time limits, refusals.

pub(crate) mod body;
mod near;
pub(crate) mod refusal;
pub(crate) mod retry_after;
pub(crate) mod upstream;

pub(crate) use body::timed_body;
pub(crate) use near::Near;
pub(crate) use upstream::{Endpoint, KEEP_ALIVE, Response, Upstream};
