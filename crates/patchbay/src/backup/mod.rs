//! Backups: database and home of a gateway in one file, taken while it works, and put back.
//!
//! The file is a gzipped tar archive: first [`manifest`], which names every other entry with its size
//! and hash, then `database/`, a file of SQLite wherever the rows were kept, then `home/`. [`make`]
//! writes one and reads it again before it counts as made; [`restore`] puts nothing in place before all
//! of the file was found to be whole.

mod archive;
mod database;
mod disk;
mod hashing;
mod home;
mod make;
mod manifest;
mod restore;
mod staging;
mod swap;
mod target;
mod unpack;

pub use make::{Made, Order, default_file, make};
pub use restore::{Restore, Restored, restore};

/// What is said of work that was to stop.
const INTERRUPTED: &str = "it was interrupted";

/// Who watches how it goes, and may put an end to it.
pub trait Progress: Send {
    /// A part begins, of so many bytes as far as it is known.
    fn begin(&self, what: &str, bytes: Option<u64>);
    fn advance(&self, bytes: u64);
    fn finish(&self);
    /// Whether what is not done yet is to be left undone.
    fn is_stopped(&self) -> bool;
}
