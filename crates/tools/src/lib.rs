//! What an agent can do: one trait, one module for each built-in tool.
//!
//! A tool knows its context (agent, workspace, a way to ask the user, a way to search sessions) and
//! nothing of stores or wires. Arguments are validated against the tool's JSON Schema before it
//! sees them. Read [`Tool`] first, then [`Registry`]; file tools reach the disk only through
//! [`workspace`]. To add a tool: a module, a line in [`Registry::built_in`], a case in `tests/suite.rs`.

pub mod arguments;
pub mod ask_user;
pub mod context;
pub mod current_time;
mod error;
pub mod list_files;
pub mod read_file;
pub mod registry;
pub mod search_sessions;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod tool;
pub mod workspace;
pub mod write_file;

pub use arguments::CheckedTool;
pub use context::{AskUser, SearchHit, SessionSearch, ToolContext};
pub use registry::{Registry, RegistryError};
pub use tool::{Tool, ToolError, ToolOutput};
