//! The store on SQLite: one file, one thread that writes, a few that read.
//!
//! Knows nothing of what the rows mean; the contracts are those of [`store`], and the suite in
//! `store::testkit` holds it to them. Read [`SqliteStore`] first, then `writer.rs`.

mod care;
mod columns;
mod commit;
mod connection;
mod contents;
mod documents;
mod events;
mod facts;
mod failure;
#[cfg(feature = "inline")]
mod inline;
mod kept;
mod lock;
mod message_rows;
mod messages;
mod migrate;
mod nodes;
mod options;
mod portable;
mod readers;
mod runs;
mod search;
mod sessions;
mod tokens;
mod tool_calls;
mod words;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use model::Fence;
use store::{Announce, ReadJob, Store, StoreError, WriteJob};

pub use care::{backup, integrity};
pub use contents::{Contents, contents, settle};
#[cfg(feature = "inline")]
pub use inline::InlineStore;
pub use lock::OwnerLock;
pub use migrate::newest_version;
pub use options::{Durability, SqliteOptions};
pub use portable::{Import, export};

use connection::Database;
use readers::Readers;
use store::backend::jobs::{Orders, refuse};
use store::backend::queue::Queue;

/// A database file that this process alone has open for writing.
///
/// [`Store::close`] ends it in order; dropping it does the same and waits for its threads, which
/// takes as long as what is queued.
pub struct SqliteStore {
    path: PathBuf,
    jobs: Arc<Queue<WriteJob>>,
    readers: Readers,
    orders: Arc<Orders>,
    running: Mutex<Option<Running>>,
}

/// The thread that writes; it gives back what it held.
type Running = JoinHandle<(Database, OwnerLock)>;

impl SqliteStore {
    /// Opens or makes the database at `path` and brings its schema up to date.
    ///
    /// Blocks for a few milliseconds. [`StoreError::Unavailable`] when another process has it open,
    /// [`StoreError::FromTheFuture`] when a newer program wrote it.
    pub fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<SqliteStore, StoreError> {
        let path = std::path::absolute(path.as_ref()).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        create_private(&path)?;
        let owner = OwnerLock::acquire(&path)?;
        let database = Database::open_writer(&path, &options)?;
        migrate::migrate(&database)?;
        let jobs = Arc::new(Queue::new(options.write_queue));
        let orders = Arc::new(Orders::default());
        let writer = Builder::new()
            .name(String::from("store-write"))
            .spawn({
                let (jobs, orders, batch_max) = (Arc::clone(&jobs), Arc::clone(&orders), options.batch_max.max(1));
                // The lock lives as long as the thread, even when nobody waits for its end.
                move || (writer::run(database, &jobs, &orders, batch_max), owner)
            })
            .map_err(|error| StoreError::Unavailable(format!("no thread can be started: {error}")))?;
        let readers = Readers::new(path.clone(), &options);
        Ok(Self { path, jobs, readers, orders, running: Mutex::new(Some(writer)) })
    }

    /// Copies the database, as of one moment, to the new file `path`; writing goes on meanwhile.
    ///
    /// [`StoreError::Conflict`] when the file is there already.
    pub async fn backup_to(&self, path: impl Into<PathBuf>) -> Result<(), StoreError> {
        let (from, to) = (self.path.clone(), path.into());
        let copied = tokio::task::spawn_blocking(move || backup(&from, &to)).await;
        copied.unwrap_or_else(|error| Err(StoreError::Backend(Box::new(error))))
    }

    /// Checks every page and index; the error names what is wrong. Reads the whole file.
    pub async fn integrity(&self) -> Result<(), String> {
        let path = self.path.clone();
        let checked = tokio::task::spawn_blocking(move || integrity(&path)).await;
        checked.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Refuses what comes from now on and gives what there is to wait for; `None` the second time.
    fn begin_end(&self) -> Option<impl FnOnce() + Send + 'static> {
        self.jobs.close();
        self.readers.close();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let readers = self.readers.take_threads();
        Some(move || end(running, readers))
    }
}

#[async_trait::async_trait]
impl Store for SqliteStore {
    async fn submit(&self, job: WriteJob) {
        if let Err(job) = self.jobs.push(job).await {
            refuse(job, closed());
        }
    }

    async fn submit_read(&self, job: ReadJob) {
        self.readers.submit(job).await;
    }

    fn announce_to(&self, listener: Arc<dyn Announce>) {
        if self.orders.listener.set(listener).is_err() {
            tracing::error!("a second listener of committed events was refused");
        }
    }

    fn write_as(&self, fence: Fence) {
        if self.orders.fence.set(fence).is_err() {
            tracing::error!(%fence, "a second node for one store was refused");
        }
    }

    /// The file belongs to this process alone.
    fn is_shared(&self) -> bool {
        false
    }

    async fn close(&self) {
        if let Some(end) = self.begin_end()
            && let Err(error) = tokio::task::spawn_blocking(end).await
        {
            tracing::error!(%error, "the database was not closed in order");
        }
    }

    fn describe(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if let Some(end) = self.begin_end() {
            end();
        }
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Waits for the threads, moves the log into the database file, and lets go of the lock last.
fn end(writer: Running, readers: Vec<JoinHandle<()>>) {
    let me = std::thread::current().id();
    // The last owner may be a closure on one of our own threads, which cannot wait for itself.
    for reader in readers.into_iter().filter(|reader| reader.thread().id() != me) {
        if reader.join().is_err() {
            tracing::error!("a thread that read the database panicked");
        }
    }
    if writer.thread().id() == me {
        return;
    }
    match writer.join() {
        Ok((database, owner)) => {
            if let Err(error) = database.row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
                tracing::warn!(%error, "the log stays beside the database until the next start");
            }
            drop(database);
            drop(owner);
        }
        Err(_) => tracing::error!("the thread that writes the database panicked"),
    }
}

/// Makes the file readable by its owner alone; the database keeps that for its side files.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::Unavailable(format!("{}: {error}", path.display()))),
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable(String::from("it is closed"))
}
