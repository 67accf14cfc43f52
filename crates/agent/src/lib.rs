//! One agent turn: context, model, tool calls, final message. Knows no store and no wire.
//!
//! [`Turn::run`] drives the loop; what happens on the way goes to a [`Journal`], which writes it
//! down and tells listeners. A turn can begin in the middle: what was written before a crash is
//! handed in again, with the calls whose outcome is unknown. [`compaction`] and [`prompt`] are the
//! rules for shortening a conversation and for the system text; they run nothing.

mod answer;
mod ask;
mod asked;
mod calls;
pub mod compaction;
mod course;
mod drive;
pub mod journal;
mod output;
pub mod prompt;
mod repetition;
mod toolbox;
mod transcript;
pub mod turn;
mod window;

pub use journal::{Journal, JournalError, Step, ToolOutcome};
pub use output::cut_middle;
pub use turn::{OpenCall, Turn, TurnEnd, TurnLimits, TurnOutcome};
