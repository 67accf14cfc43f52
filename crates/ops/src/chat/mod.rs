//! The chat view of a session.

pub mod abort;
pub mod clear;
pub mod history;
pub mod send;
