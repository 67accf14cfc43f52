//! The run engine as its callers see it: a whole gateway without a wire, a scripted model, a database that fails on request.
#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

mod cancel;
mod chaos;
mod idempotency;
mod input;
mod kept;
mod limits;
mod queue;
mod recovery;
mod reset;
mod rig;
mod shorten;
mod store_faults;
mod tool;
