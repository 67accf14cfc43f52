//! What an agent can do: one trait, one module for each built-in tool.
//!
//! A tool knows its context (agent, workspace, a way to ask the user, a way to search sessions) and
//! nothing of stores or wires. Arguments are validated against the tool's JSON Schema before it
//! sees them. Read [`Tool`] first.

pub mod context;
pub mod tool;

pub use context::{AskUser, SearchHit, SessionSearch, ToolContext};
pub use tool::{Tool, ToolError, ToolOutput};
