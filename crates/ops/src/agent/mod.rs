//! Agents and their runs.

pub mod cancel;
pub mod explain;
pub mod list;
pub mod respond_to_input;
pub mod run;
pub mod status;
