//! The store on PostgreSQL: one thread that writes, a few that read, and any number of nodes.
//!
//! Knows nothing of what the rows mean; the contracts are those of [`store`], and the suite in
//! `store::testkit` holds it to them. Read [`PostgresStore`] first, then `writer.rs` and `transaction.rs`.

mod address;
mod columns;
mod connection;
mod copying;
mod documents;
mod events;
mod facts;
mod failure;
mod kept;
mod known;
mod link;
mod message_rows;
mod messages;
mod migrate;
mod nodes;
mod notify;
mod options;
mod portable;
mod questions;
mod readers;
mod reconnect;
mod refusal;
mod rows;
mod runs;
mod search;
mod sessions;
mod tls;
mod tokens;
mod tool_calls;
mod transaction;
mod values;
mod writer;

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use model::Fence;
use store::backend::jobs::{Orders, refuse};
use store::backend::queue::Queue;
use store::{Announce, Foresight, ReadJob, Store, StoreError, WriteJob};

pub use migrate::newest_version;
pub use notify::NotifyLink;
pub use options::PostgresOptions;
pub use portable::{Import, export};

use address::Address;
use readers::Readers;
use reconnect::Connector;
use writer::{Submitted, Writer};

/// The longest wait between two attempts to reach a server that is away.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A database that any number of nodes write to.
///
/// [`Store::close`] ends it in order; dropping it does the same and waits for its threads, which
/// takes as long as what is queued.
pub struct PostgresStore {
    shown: String,
    jobs: Arc<Queue<Submitted>>,
    readers: Readers,
    orders: Arc<Orders>,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl PostgresStore {
    /// Connects to the database at `url` and brings its schema up to date.
    ///
    /// Blocks for some milliseconds, up to twice the time limit of a connection. [`StoreError::Unavailable`]
    /// while the server is out of reach, starting or full; [`StoreError::Refused`] when the address, the
    /// password, the database or the rights are wrong; [`StoreError::FromTheFuture`] when a newer program
    /// was here. No error holds the password.
    pub fn open(url: &str, options: PostgresOptions) -> Result<PostgresStore, StoreError> {
        let address = Address::parse(url, &options)?;
        let jobs = Arc::new(Queue::new(options.write_queue));
        let orders = Arc::new(Orders::default());
        let (opened, is_open) = sync_channel(1);
        let writer = Builder::new().name(String::from("store-write")).spawn({
            let (jobs, orders, address, options) =
                (Arc::clone(&jobs), Arc::clone(&orders), address.clone(), options.clone());
            // The connection belongs to the thread from its beginning: it is driven there and nowhere else.
            move || {
                let mut connector = Connector::new(address, options.clone(), WAIT_MAX);
                let database = connector.connect().and_then(|database| {
                    migrate::migrate(&database)?;
                    let name = database.new_writer()?;
                    Ok((database, name))
                });
                match database {
                    Ok((database, name)) if opened.send(Ok(())).is_ok() => {
                        let batch_max = options.batch_max.max(1);
                        let database = Some(database);
                        let (uncertain, mistaken) = (None, None);
                        Writer {
                            queue: jobs,
                            orders,
                            connector,
                            batch_max,
                            name,
                            number: 0,
                            database,
                            uncertain,
                            mistaken,
                        }
                        .run();
                    }
                    // Nobody waits for it any more.
                    Ok(_) => {}
                    Err(error) => _ = opened.send(Err(error)),
                }
            }
        });
        let writer = writer.map_err(|error| StoreError::Unavailable(format!("no thread can be started: {error}")))?;
        match is_open.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(StoreError::Backend("opening the database panicked".into())),
        }
        let readers = Readers::new(address.clone(), &options);
        let shown = address.shown().to_owned();
        Ok(Self { shown, jobs, readers, orders, running: Mutex::new(Some(writer)) })
    }

    /// Looks whether the database at `url` can be used, and changes nothing: gives the version of its
    /// schema, 0 for an empty database. Errors are those of [`PostgresStore::open`].
    pub fn check(url: &str, options: PostgresOptions) -> Result<u32, StoreError> {
        let address = Address::parse(url, &options)?;
        let checked = std::thread::spawn(move || {
            let database = connection::Database::open(&address, &options)?;
            let version = migrate::version(&database);
            database.link.close();
            version
        });
        checked.join().unwrap_or_else(|_| Err(StoreError::Backend("the check panicked".into())))
    }

    /// What [`Store::describe`] will say of the database at `url`; `None` for what is no address.
    pub fn shown(url: &str) -> Option<String> {
        Address::parse(url, &PostgresOptions::default()).ok().map(|address| address.shown().to_owned())
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

/// What is wrong with an address, without repeating it; `None` when it can be tried.
pub fn problem(url: &str) -> Option<String> {
    match Address::parse(url, &PostgresOptions::default()) {
        Ok(_) => None,
        Err(StoreError::Refused(reason)) => Some(reason),
        Err(other) => Some(other.to_string()),
    }
}

#[async_trait::async_trait]
impl Store for PostgresStore {
    async fn submit(&self, job: WriteJob) {
        self.submit_foreseen(job, Foresight::default()).await;
    }

    async fn submit_foreseen(&self, job: WriteJob, foresight: Foresight) {
        if let Err(refused) = self.jobs.push(Submitted { job, foresight }).await {
            refuse(refused.job, closed());
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

    fn is_shared(&self) -> bool {
        true
    }

    async fn close(&self) {
        if let Some(end) = self.begin_end()
            && let Err(error) = tokio::task::spawn_blocking(end).await
        {
            tracing::error!(%error, "the database was not closed in order");
        }
    }

    fn describe(&self) -> String {
        self.shown.clone()
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let Some(end) = self.begin_end() {
            end();
        }
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("database", &self.shown).finish_non_exhaustive()
    }
}

/// Waits for the threads.
fn end(writer: JoinHandle<()>, readers: Vec<JoinHandle<()>>) {
    let me = std::thread::current().id();
    // The last owner may be a closure on one of our own threads, which cannot wait for itself.
    for thread in readers.into_iter().chain([writer]).filter(|thread| thread.thread().id() != me) {
        if thread.join().is_err() {
            tracing::error!("a thread of the database panicked");
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable(String::from("it is closed"))
}
