//! One agent turn: context, model, tool calls, final message. Knows no store and no wire.
//!
//! [`Turn::run`] drives the loop; what happens on the way goes to a [`Journal`], which writes it
//! down and tells listeners. A turn can begin in the middle: what was written before a crash is
//! handed in again, with the calls whose outcome is unknown.

pub mod compaction;
pub mod journal;
pub mod turn;

pub use journal::{Journal, JournalError, Step, ToolOutcome};
pub use turn::{OpenCall, Turn, TurnEnd, TurnLimits, TurnOutcome};
