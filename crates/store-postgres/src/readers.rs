//! Threads that read, each with a connection of its own.
//!
//! None is started before it is needed, so that opening the store costs nothing for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use store::backend::jobs::guarded;
use store::backend::queue::{Queue, Queued};
use store::{ReadJob, StoreError};

use crate::PostgresOptions;
use crate::address::Address;
use crate::connection::Database;
use crate::reconnect::Connector;

/// The longest wait between two attempts to reach a server that is away.
const WAIT_MAX: Duration = Duration::from_millis(500);

pub struct Readers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    address: Address,
    options: PostgresOptions,
    queue: Queue<ReadJob>,
}

impl Readers {
    pub fn new(address: Address, options: &PostgresOptions) -> Self {
        let queue = Queue::new(options.read_queue);
        Self { shared: Arc::new(Shared { address, options: options.clone(), queue }), threads: Mutex::default() }
    }

    pub async fn submit(&self, job: ReadJob) {
        match self.shared.queue.push(job).await {
            Ok(Queued::Handed) => {}
            Ok(Queued::Waiting) => self.start_another(),
            Err(job) => job(Err(crate::closed())),
        }
    }

    /// Refuses further reads; those queued are still answered.
    pub fn close(&self) {
        self.shared.queue.close();
    }

    pub fn take_threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.lock())
    }

    fn start_another(&self) {
        let mut threads = self.lock();
        if threads.len() >= self.shared.options.readers.max(1) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let name = format!("store-read-{}", threads.len() + 1);
        match Builder::new().name(name).spawn(move || shared.run()) {
            Ok(thread) => threads.push(thread),
            Err(error) if threads.is_empty() => {
                tracing::error!(%error, "no thread could be started to read the database");
                self.shared.refuse_queued(&error);
            }
            Err(error) => {
                tracing::warn!(%error, readers = threads.len(), "no further thread could be started to read the database")
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn run(&self) {
        let mut connector = Connector::new(self.address.clone(), self.options.clone(), WAIT_MAX);
        let mut database = None;
        let mut jobs = VecDeque::with_capacity(1);
        while self.queue.take(1, &mut jobs) {
            for job in jobs.drain(..) {
                // What the server ended while nobody asked is replaced before the job begins.
                let open = database.take().filter(|open: &Database| !open.link.is_closed());
                match open.map_or_else(|| connector.connect(), Ok) {
                    Ok(open) => database = read(open, job),
                    Err(error) => guarded("a refused read", || job(Err(error))),
                }
            }
        }
        if let Some(database) = database {
            database.link.close();
        }
    }

    fn refuse_queued(&self, cause: &std::io::Error) {
        let mut jobs = VecDeque::new();
        self.queue.take_now(usize::MAX, &mut jobs);
        for job in jobs {
            let error = StoreError::Unavailable(format!("no thread can be started: {cause}"));
            guarded("a refused read", || job(Err(error)));
        }
    }
}

/// Runs a read over one moment; gives the connection back when it can be used again.
fn read(database: Database, job: ReadJob) -> Option<Database> {
    database.begin_read();
    guarded("a read", || job(Ok(&database)));
    match database.end_read() {
        Ok(()) => Some(database),
        Err(error) => {
            tracing::warn!(%error, "a read could not be ended");
            None
        }
    }
}
