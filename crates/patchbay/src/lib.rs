//! The gateway as a program: its settings, its home folder, and the one place where backends and
//! dialects are chosen and wired. The command line in [`cli`] is on top of it.

mod backup;
pub mod cli;
pub mod compose;
pub mod configuration;
pub mod contracts;
pub mod gateway;
mod handover;
pub mod home;
pub mod logging;
mod memory;
pub mod prepared;
mod published_keys;
mod serving;
pub mod settings;
