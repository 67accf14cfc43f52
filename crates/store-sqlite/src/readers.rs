//! Threads that read, each with a connection of its own.
//!
//! None is started before it is needed, so that opening the store costs nothing for them.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use store::{ReadJob, StoreError};

use crate::SqliteOptions;
use crate::connection::Database;
use store::backend::jobs::guarded;
use store::backend::queue::{Queue, Queued};

pub struct Readers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    path: PathBuf,
    options: SqliteOptions,
    queue: Queue<ReadJob>,
}

impl Readers {
    pub fn new(path: PathBuf, options: &SqliteOptions) -> Self {
        let queue = Queue::new(options.read_queue);
        Self { shared: Arc::new(Shared { path, options: options.clone(), queue }), threads: Mutex::default() }
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
        let mut database = None;
        let mut jobs = VecDeque::with_capacity(1);
        while self.queue.take(1, &mut jobs) {
            for job in jobs.drain(..) {
                self.read(&mut database, job);
            }
        }
    }

    fn read(&self, database: &mut Option<Database>, job: ReadJob) {
        let open = match database.take() {
            Some(open) => Ok(open),
            None => Database::open_reader(&self.path, &self.options),
        };
        let begun = open.and_then(|open| open.control("BEGIN DEFERRED").map(|()| open));
        match begun {
            Ok(open) => {
                guarded("a read", || job(Ok(&open)));
                match open.control("COMMIT") {
                    Ok(()) => *database = Some(open),
                    // The next read opens a new connection.
                    Err(error) => tracing::warn!(%error, "a read could not be ended"),
                }
            }
            Err(error) => guarded("a refused read", || job(Err(error))),
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
