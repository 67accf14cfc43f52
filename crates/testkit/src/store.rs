//! A database that fails on request.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use store::{Announce, Finish, Outcome, ReadJob, Store, StoreError, WriteJob};
use tokio::sync::watch;

/// A real store with faults in front of it. Clones of the `Arc` are the same store.
pub struct ScriptedStore {
    inner: Arc<dyn Store>,
    fault: AtomicU8,
    /// Writes that still go through before the fault begins.
    spared: AtomicU64,
    is_held: watch::Sender<bool>,
    /// The next write is to be held, and no other.
    holds_next: AtomicBool,
    /// One write is held while others pass it by.
    is_one_held: watch::Sender<bool>,
    held: watch::Sender<usize>,
    struck: watch::Sender<usize>,
    /// While outcomes are held: those of the writes that have been committed meanwhile.
    untold: Arc<Mutex<Option<Vec<Told>>>>,
}

/// What a writer is to be told, and how.
type Told = (Finish, Result<(), StoreError>);

/// What happens to writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    None = 0,
    /// The unit of work is not run at all: the database is out of reach.
    Refuse = 1,
    /// The unit of work is run, and its commit fails: a full disk.
    FailCommit = 2,
}

impl ScriptedStore {
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            fault: AtomicU8::new(Fault::None as u8),
            spared: AtomicU64::new(0),
            is_held: watch::Sender::new(false),
            holds_next: AtomicBool::new(false),
            is_one_held: watch::Sender::new(false),
            held: watch::Sender::new(0),
            struck: watch::Sender::new(0),
            untold: Arc::new(Mutex::new(None)),
        })
    }

    /// From now on, until changed.
    pub fn set_fault(&self, fault: Fault) {
        self.set_fault_after(0, fault);
    }

    /// After the next `writes` units of work.
    pub fn set_fault_after(&self, writes: u64, fault: Fault) {
        self.spared.store(writes, Ordering::SeqCst);
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    /// Keeps writes from reaching the database until [`ScriptedStore::let_go`].
    pub fn hold(&self) {
        self.is_held.send_replace(true);
    }

    /// Keeps the next write from reaching the database until [`ScriptedStore::let_go`]; those behind it pass it by.
    pub fn hold_next(&self) {
        self.is_one_held.send_replace(true);
        self.holds_next.store(true, Ordering::SeqCst);
    }

    pub fn let_go(&self) {
        self.holds_next.store(false, Ordering::SeqCst);
        self.is_one_held.send_replace(false);
        self.is_held.send_replace(false);
    }

    /// Returns once at least `count` writes have met with a fault.
    pub async fn struck(&self, count: usize) {
        // The sender lives in `self`, so it cannot go away while we wait.
        let _ = self.struck.subscribe().wait_for(|struck| *struck >= count).await;
    }

    /// Returns once at least `count` writes have been held.
    pub async fn reached(&self, count: usize) {
        // The sender lives in `self`, so it cannot go away while we wait.
        let _ = self.held.subscribe().wait_for(|held| *held >= count).await;
    }

    /// Lets writes through and their events be announced, and keeps from the writers that they were
    /// committed, until [`ScriptedStore::tell_outcomes`].
    pub fn hold_outcomes(&self) {
        lock(&self.untold).get_or_insert_default();
    }

    pub fn tell_outcomes(&self) {
        let untold = lock(&self.untold).take();
        for (finish, result) in untold.into_iter().flatten() {
            finish(result);
        }
    }

    /// The job, whose writer is told of its end through us.
    fn told_later(&self, job: WriteJob) -> WriteJob {
        let untold = Arc::clone(&self.untold);
        Box::new(move |tx| match job(tx) {
            Outcome::Commit(finish) => Outcome::Commit(Box::new(move |result| match lock(&untold).as_mut() {
                Some(held) => held.push((finish, result)),
                None => finish(result),
            })),
            undone => undone,
        })
    }

    fn fault_of_this_write(&self) -> Fault {
        let fault = match self.fault.load(Ordering::SeqCst) {
            1 => Fault::Refuse,
            2 => Fault::FailCommit,
            _ => return Fault::None,
        };
        let was_spared = self.spared.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if was_spared.is_ok() { Fault::None } else { fault }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn away() -> StoreError {
    StoreError::Unavailable(String::from("a test took it away"))
}

/// The job as the database sees it: it runs, and what it wrote is undone.
fn undone(job: WriteJob) -> WriteJob {
    Box::new(move |tx| match job(tx) {
        Outcome::Commit(finish) => Outcome::Rollback(Box::new(move |_| finish(Err(away())))),
        Outcome::Rollback(finish) => Outcome::Rollback(finish),
    })
}

/// Runs a job that the database never sees.
fn refused(job: WriteJob) {
    match job(Err(away())) {
        Outcome::Commit(finish) | Outcome::Rollback(finish) => finish(Err(away())),
    }
}

#[async_trait]
impl Store for ScriptedStore {
    async fn submit(&self, job: WriteJob) {
        if *self.is_held.borrow() {
            self.held.send_modify(|held| *held += 1);
            let _ = self.is_held.subscribe().wait_for(|is_held| !*is_held).await;
        }
        if self.holds_next.swap(false, Ordering::SeqCst) {
            self.held.send_modify(|held| *held += 1);
            let _ = self.is_one_held.subscribe().wait_for(|is_held| !*is_held).await;
        }
        let fault = self.fault_of_this_write();
        if fault != Fault::None {
            self.struck.send_modify(|struck| *struck += 1);
        }
        match fault {
            Fault::None if lock(&self.untold).is_some() => self.inner.submit(self.told_later(job)).await,
            Fault::None => self.inner.submit(job).await,
            Fault::FailCommit => self.inner.submit(undone(job)).await,
            Fault::Refuse => refused(job),
        }
    }

    async fn submit_read(&self, job: ReadJob) {
        self.inner.submit_read(job).await;
    }

    fn announce_to(&self, listener: Arc<dyn Announce>) {
        self.inner.announce_to(listener);
    }

    fn write_as(&self, fence: model::Fence) {
        self.inner.write_as(fence);
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
