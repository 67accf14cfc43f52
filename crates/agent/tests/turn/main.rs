//! Whole turns against a scripted model.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod cancel;
mod client_tools;
mod faults;
mod flow;
mod resume;
mod rig;
mod tool_calls;
mod window;
