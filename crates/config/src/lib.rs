//! The configuration engine: reading, layering, checking, editing and reloading `config.toml`.
//!
//! Generic over the root struct: which sections exist, and what they mean, is known only to the
//! crates that own them and to the binary that composes them into one [`Root`]. Nothing here reads
//! the process environment or the clock; both are handed in.
//!
//! Read [`Layers`] first: it turns defaults, file, environment and flags into a checked [`Loaded`].
//! [`Live`] holds the one that is in force and swaps it; [`ConfigFile`] and [`Edit`] change the file
//! while keeping its comments; a [`Problem`] says where something is wrong and what was meant.
//!
//! What a root struct must keep to: its keys are named the same in both directions (no serde
//! aliases), every section has defaults (`#[serde(default)]`), and rules that types cannot say are
//! in [`Validate`]. JSON Schema's `pattern` is not evaluated here, so such a rule belongs there too.

mod assembly;
mod check;
mod diff;
mod edit;
mod environment;
mod fault;
mod file;
mod flag;
mod hidden;
mod layers;
mod live;
mod loaded;
mod overlay;
mod path;
mod problem;
mod redact;
mod references;
mod root;
mod schema;
mod shape;
pub mod starter;
mod suggest;
mod text;
mod validate;
mod watch;

#[cfg(test)]
mod sample;

pub use edit::{Edit, EditError};
pub use environment::{Environment, PREFIX, RESERVED};
pub use file::{ConfigFile, HISTORY_MAX, Saved, Version};
pub use layers::{Layers, setting_value};
pub use live::{Applier, Live, Reloaded};
pub use loaded::Loaded;
pub use path::{InvalidPath, Path, Segment};
pub use problem::{Finding, Origin, Problem, Problems};
pub use redact::{is_secret_name, redacted, section};
pub use root::{Root, Validate, Violation};
pub use schema::schema;
pub use text::FILE_BYTES_MAX;
pub use validate::Validation;
pub use watch::{DEBOUNCE, watch};
