//! What tests of this crate and of others use: stand-ins for the user and the search, and the suite
//! that every tool passes.

pub mod doubles;
pub mod suite;

pub use doubles::{Bench, ScriptedSearch, ScriptedUser};
pub use suite::{Case, check};
