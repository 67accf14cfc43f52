//! The conformance suite that every backend passes.
//!
//! Each public function of [`units`], [`log`] and so on is one contract; it panics when the backend
//! breaks it. A backend's tests name the whole suite with [`crate::conformance!`].

pub mod documents;
pub mod everything;
pub mod facts;
pub mod foresight;
pub mod kept;
pub mod log;
pub mod messages;
pub mod nodes;
pub mod place;
pub mod reopening;
pub mod rows;
pub mod runs;
pub mod search;
pub mod sessions;
mod suite;
pub mod tokens;
pub mod units;

pub use place::{Dice, Heard, Reopen, read, write};
