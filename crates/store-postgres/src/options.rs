//! What can be chosen when a database is opened.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Threads that read, each with a connection; started when first needed. At least 1.
    pub readers: usize,
    /// Units of work that may wait; further callers wait for a place.
    pub write_queue: usize,
    /// Reads that may wait; further callers wait for a place.
    pub read_queue: usize,
    /// Units of work that share a commit at most. The server remembers 64 savepoints of a transaction
    /// cheaply; with more, every reader of the cluster pays.
    pub batch_max: usize,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long to wait for the commits of other nodes before a unit is told to try again.
    pub lock_timeout: Duration,
    /// How long one statement may run.
    pub statement_timeout: Duration,
    /// How long a unit of work may think between two statements. A node that hangs for longer is sent
    /// away by the server, so that it does not hold up the others.
    pub idle_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            readers: 4,
            write_queue: 1024,
            read_queue: 1024,
            batch_max: 64,
            connect_timeout: Duration::from_secs(2),
            lock_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(2),
        }
    }
}
