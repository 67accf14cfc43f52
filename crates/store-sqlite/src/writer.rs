//! The one thread that writes.
//!
//! It takes all units of work that wait, runs them one after another in one transaction, each
//! inside a savepoint, commits once, announces the events, and then tells every caller. The disk
//! is waited for once per batch, so the busier the gateway, the cheaper each commit.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use store::backend::jobs::{Orders, Unit, again, announce, panic_text, refuse, tell};
use store::backend::queue::Queue;
use store::{Outcome, StoreError, WriteJob};

use crate::connection::{Database, Mark};

/// Runs until the queue is closed and empty; gives the connection back for the final checkpoint.
pub fn run(database: Database, queue: &Queue<WriteJob>, orders: &Orders, batch_max: usize) -> Database {
    let mut jobs = VecDeque::with_capacity(batch_max);
    while queue.take(batch_max, &mut jobs) {
        // More than one round only when the disk fails in the middle of a batch.
        while !jobs.is_empty() {
            Batch::new(&database, orders, jobs.len()).run(&mut jobs);
        }
    }
    database
}

/// Runs what is there on the thread of the caller.
#[cfg(feature = "inline")]
pub fn run_here(database: &Database, orders: &Orders, jobs: &mut VecDeque<WriteJob>) {
    while !jobs.is_empty() {
        Batch::new(database, orders, jobs.len()).run(jobs);
    }
}

struct Batch<'a> {
    database: &'a Database,
    orders: &'a Orders,
    /// With several units each has a savepoint; one alone is undone with its transaction.
    savepoints: bool,
    units: Vec<Unit>,
}

impl<'a> Batch<'a> {
    fn new(database: &'a Database, orders: &'a Orders, size: usize) -> Self {
        Self { database, orders, savepoints: size > 1, units: Vec::with_capacity(size) }
    }

    fn run(mut self, jobs: &mut VecDeque<WriteJob>) {
        if let Err(error) = self.begin() {
            tracing::error!(%error, "a transaction could not be begun");
            jobs.drain(..).for_each(|job| refuse(job, again(&error)));
            return;
        }
        let mut broken = None;
        while let Some(job) = jobs.pop_front() {
            if let Err(error) = self.unit(job) {
                // The rest of the batch gets a transaction of its own.
                broken = Some(error);
                break;
            }
        }
        let ended = match broken {
            Some(error) => Err(error),
            None => self.commit(),
        };
        self.finish(ended);
    }

    /// Begins the transaction, unless another node has taken over.
    fn begin(&self) -> Result<(), StoreError> {
        self.database.begin()?;
        match self.orders.fence.get() {
            Some(fence) if !self.database.is_node(*fence)? => {
                self.database.abandon()?;
                Err(StoreError::FencedOff)
            }
            _ => Ok(()),
        }
    }

    /// Runs one unit. An error says that the whole transaction is lost.
    fn unit(&mut self, job: WriteJob) -> Result<(), StoreError> {
        let mark = self.database.mark();
        if self.savepoints
            && let Err(error) = self.database.control("SAVEPOINT unit")
        {
            refuse(job, again(&error));
            return Err(error);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| job(Ok(self.database))));
        if !self.database.in_transaction() {
            if let Ok(Outcome::Commit(finish) | Outcome::Rollback(finish)) = outcome {
                self.units.push(Unit::Kept(finish));
            }
            return Err(StoreError::NotWritable(String::from("the disk failed and undid the transaction")));
        }
        match outcome {
            Ok(Outcome::Commit(finish)) => {
                self.units.push(Unit::Kept(finish));
                if self.savepoints { self.database.control("RELEASE unit") } else { Ok(()) }
            }
            Ok(Outcome::Rollback(finish)) => {
                self.units.push(Unit::Undone(finish));
                self.undo(mark)
            }
            // Its caller learns of it because the sender inside the unit is dropped.
            Err(panic) => {
                tracing::error!(panic = panic_text(&*panic), "a unit of work panicked and was undone");
                self.undo(mark)
            }
        }
    }

    fn undo(&self, mark: Mark) -> Result<(), StoreError> {
        self.database.return_to(mark);
        if self.savepoints {
            self.database.control("ROLLBACK TO unit")?;
            self.database.control("RELEASE unit")
        } else {
            self.database.control("ROLLBACK")
        }
    }

    /// Commits what is open; nothing is when a single unit was undone.
    fn commit(&self) -> Result<(), StoreError> {
        if self.database.in_transaction() { self.database.commit() } else { Ok(()) }
    }

    fn finish(self, ended: Result<(), StoreError>) {
        match &ended {
            Ok(()) => {
                let events = self.database.log.take_appended();
                announce(&self.orders.listener, events);
            }
            Err(error) => {
                tracing::error!(%error, units = self.units.len(), "a commit failed; its units of work were undone");
                if let Err(error) = self.database.abandon() {
                    tracing::error!(%error, "a failed transaction could not be rolled back");
                }
            }
        }
        tell(self.units, &ended);
    }
}

#[cfg(test)]
mod tests;
