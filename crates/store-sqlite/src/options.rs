//! What can be chosen when a database is opened.

use std::time::Duration;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On disk: survives a power cut.
    #[default]
    Full,
    /// In the operating system's hands: survives the death of the process, not always a power cut.
    Normal,
}

#[derive(Debug, Clone)]
pub struct SqliteOptions {
    pub durability: Durability,
    /// Threads that read, each with a connection; started when first needed. At least 1.
    pub readers: usize,
    /// Units of work that may wait; further callers wait for a place.
    pub write_queue: usize,
    /// Reads that may wait; further callers wait for a place.
    pub read_queue: usize,
    /// Units of work that share a commit at most.
    pub batch_max: usize,
    /// How long to wait for another program that holds the file, such as a copy tool.
    pub busy_timeout: Duration,
    /// Page cache of the writer, in KiB.
    pub writer_cache_kib: u32,
    /// Page cache of each reader, in KiB.
    pub reader_cache_kib: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            readers: 3,
            write_queue: 1024,
            read_queue: 1024,
            batch_max: 256,
            busy_timeout: Duration::from_secs(5),
            writer_cache_kib: 3072,
            reader_cache_kib: 512,
        }
    }
}
