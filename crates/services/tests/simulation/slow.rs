//! A database that takes its time, freezes, and is out of reach.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::Fence;
use store::{Announce, Outcome, ReadJob, Store, StoreError, WriteJob};
use tokio::sync::watch;

use crate::dice::Dice;

/// A node's way to the database.
pub struct SlowStore {
    inner: Arc<dyn Store>,
    dice: Dice,
    is_away: AtomicBool,
    /// Nothing comes through, in either direction.
    is_frozen: watch::Sender<bool>,
    /// Units of work of one node run in the order in which they were handed in.
    order: tokio::sync::Mutex<()>,
    /// A commit that the node is told about late, or never when it dies first.
    late: Mutex<u64>,
}

impl SlowStore {
    pub fn new(inner: Arc<dyn Store>, dice: Dice) -> Arc<Self> {
        Arc::new(Self {
            inner,
            dice,
            is_away: AtomicBool::new(false),
            is_frozen: watch::Sender::new(false),
            order: tokio::sync::Mutex::new(()),
            late: Mutex::new(0),
        })
    }

    pub fn take_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
        if is_away {
            self.is_frozen.send_replace(false);
        }
    }

    pub fn freeze(&self, is_frozen: bool) {
        self.is_frozen.send_replace(is_frozen);
    }

    /// The outcomes of the next so many commits are told late.
    pub fn tell_late(&self, commits: u64) {
        *self.late.lock().expect("not poisoned") = commits;
    }

    async fn thaw(&self) {
        let _ = self.is_frozen.subscribe().wait_for(|is_frozen| !*is_frozen).await;
    }

    fn away(&self) -> Option<StoreError> {
        self.is_away.load(Ordering::SeqCst).then(|| StoreError::Unavailable(String::from("the schedule took it away")))
    }

    /// The job, whose end is told after a while.
    fn told_late(&self, job: WriteJob) -> WriteJob {
        {
            let mut late = self.late.lock().expect("not poisoned");
            if *late == 0 {
                return job;
            }
            *late -= 1;
        }
        let wait = self.dice.ms(1, 400);
        Box::new(move |tx| match job(tx) {
            Outcome::Commit(finish) => Outcome::Commit(Box::new(move |result| {
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    finish(result);
                });
            })),
            undone => undone,
        })
    }
}

#[async_trait]
impl Store for SlowStore {
    async fn submit(&self, job: WriteJob) {
        let _turn = self.order.lock().await;
        tokio::time::sleep(self.dice.ms(0, 3)).await;
        self.thaw().await;
        if let Some(error) = self.away() {
            let again = self.away();
            match job(Err(error)) {
                Outcome::Commit(finish) | Outcome::Rollback(finish) => finish(again.map_or(Ok(()), Err)),
            }
            return;
        }
        self.inner.submit(self.told_late(job)).await;
    }

    async fn submit_read(&self, job: ReadJob) {
        tokio::time::sleep(self.dice.ms(0, 2)).await;
        self.thaw().await;
        match self.away() {
            Some(error) => job(Err(error)),
            None => self.inner.submit_read(job).await,
        }
    }

    fn announce_to(&self, listener: Arc<dyn Announce>) {
        self.inner.announce_to(listener);
    }

    fn write_as(&self, fence: Fence) {
        self.inner.write_as(fence);
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    fn describe(&self) -> String {
        String::from("slow")
    }
}
