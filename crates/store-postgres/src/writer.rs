//! The one thread that writes.
//!
//! It takes all units of work that wait, runs them one after another in one transaction, each inside
//! a savepoint, commits once, announces the events, and then tells every caller. The transactions of
//! all nodes are one after another too: see `transaction.rs`.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::backend::jobs::{Orders, Unit, again, announce, panic_text, refuse, tell};
use store::backend::queue::Queue;
use store::{Foresight, Outcome, StoreError, StoredEvent, WriteJob};

use crate::connection::Database;
use crate::reconnect::Connector;
use crate::transaction::{Ended, Mark, Stamp};

/// How long after a commit that failed every statement is waited for whose outcome a unit could be told.
const DOUBT: Duration = Duration::from_secs(30);

/// From how long a wait for the lock on a batch takes in what has come meanwhile.
const LONG_WAIT: Duration = Duration::from_millis(2);

/// A unit of work that waits, and what it is about to ask for.
pub struct Submitted {
    pub job: WriteJob,
    pub foresight: Foresight,
}

pub struct Writer {
    pub queue: Arc<Queue<Submitted>>,
    pub orders: Arc<Orders>,
    pub connector: Connector,
    pub batch_max: usize,
    /// The name under which batches are stamped, and the number of the last one.
    pub name: String,
    pub number: i64,
    /// `None` while the server is away.
    pub database: Option<Database>,
    /// A batch whose commit may have held; nothing is written before that is known.
    pub uncertain: Option<Uncertain>,
    /// When a commit failed. What is known beforehand is not waited for, so a statement that the server
    /// refuses all the same fails a whole batch; the units that come again must not meet that twice.
    pub mistaken: Option<Instant>,
}

/// A batch whose connection ended while the answer to its commit was on its way.
pub struct Uncertain {
    number: i64,
    units: Vec<Unit>,
    events: Vec<StoredEvent>,
}

impl Writer {
    /// Runs until the queue is closed and empty.
    pub fn run(mut self) {
        let mut jobs = VecDeque::with_capacity(self.batch_max);
        loop {
            let goes_on = if self.database.is_some() && self.uncertain.is_none() {
                self.queue.take(self.batch_max, &mut jobs)
            } else {
                self.queue.take_within(self.connector.remaining(), self.batch_max, &mut jobs)
            };
            if let Err(error) = self.mend() {
                refuse_all(&mut jobs, &error);
            }
            // More than one round only when a transaction is lost in the middle of a batch.
            while !jobs.is_empty() {
                self.batch(&mut jobs);
            }
            if !goes_on {
                break;
            }
        }
        self.end();
    }

    /// Sees to it that there is a connection and nothing uncertain.
    fn mend(&mut self) -> Result<(), StoreError> {
        if self.database.is_none() {
            self.database = Some(self.connector.connect()?);
        }
        let (Some(database), Some(uncertain)) = (&self.database, self.uncertain.take()) else {
            return Ok(());
        };
        match database.is_committed(Stamp { writer: &self.name, number: uncertain.number }) {
            Ok(is_committed) => {
                uncertain.end(&self.orders, Some(is_committed));
                Ok(())
            }
            Err(error) => {
                self.uncertain = Some(uncertain);
                self.database = None;
                self.connector.put_off(again(&error));
                Err(error)
            }
        }
    }

    /// Runs waiting units in one transaction; those that are left get one of their own.
    fn batch(&mut self, jobs: &mut VecDeque<Submitted>) {
        let asked_at = Instant::now();
        let begun = self.begin(&self.foresight(jobs));
        let is_shared = asked_at.elapsed() > LONG_WAIT;
        let begun = if is_shared { begun.and_then(|database| self.join(database, jobs)) } else { begun };
        let database = match begun {
            Ok(database) => database,
            Err(error) => {
                tracing::error!(%error, "a transaction could not be begun");
                refuse_all(jobs, &error);
                return;
            }
        };
        let mut batch = Batch { savepoints: jobs.len() > 1, units: Vec::with_capacity(jobs.len()), database };
        while let Some(submitted) = jobs.pop_front() {
            batch.unit(submitted.job);
            if batch.database.broken().is_some() {
                break;
            }
        }
        let Batch { database, units, .. } = batch;
        self.number += 1;
        let ended = database.commit(Stamp { writer: &self.name, number: self.number });
        let events = database.log.take_appended();
        let told = match ended {
            Ended::Committed => {
                announce(&self.orders.listener, events);
                Ok(())
            }
            Ended::Failed(error) => {
                tracing::error!(%error, units = units.len(), "a commit failed; its units of work were undone");
                self.mistaken = Some(Instant::now());
                if let Err(error) = database.abandon() {
                    tracing::warn!(%error, "a failed transaction could not be rolled back");
                }
                Err(error)
            }
            Ended::Unknown(error) => {
                tracing::warn!(%error, units = units.len(), "the answer to a commit was lost; asking for it");
                self.uncertain = Some(Uncertain { number: self.number, units, events });
                if let Err(error) = self.mend() {
                    refuse_all(jobs, &error);
                }
                return;
            }
        };
        database.forget();
        if !database.link.is_closed() {
            self.database = Some(database);
        } else if let Err(error) = self.mend() {
            refuse_all(jobs, &error);
        }
        tell(units, &told);
    }

    /// Takes in the units that came while other nodes were writing: fewer, larger transactions are what makes
    /// a lock that many wait for go round faster.
    fn join(&mut self, database: Database, jobs: &mut VecDeque<Submitted>) -> Result<Database, StoreError> {
        let mut late = VecDeque::new();
        self.queue.take_now(self.batch_max.saturating_sub(jobs.len()), &mut late);
        let foresight = self.foresight(&mut late);
        jobs.append(&mut late);
        if foresight == Foresight::default() {
            return Ok(database);
        }
        match database.foresee(&foresight) {
            Ok(()) => Ok(database),
            Err(error) => {
                if !database.link.is_closed() && database.abandon().is_ok() {
                    self.database = Some(database);
                }
                Err(error)
            }
        }
    }

    /// What the waiting units are about to ask for.
    fn foresight(&self, jobs: &mut VecDeque<Submitted>) -> Foresight {
        let mut all = Foresight::default();
        if self.mistaken.is_none_or(|at| at.elapsed() > DOUBT) {
            jobs.iter_mut().for_each(|submitted| all.join(std::mem::take(&mut submitted.foresight)));
        }
        all
    }

    /// Begins a transaction, with a new connection when the old one has ended meanwhile.
    fn begin(&mut self, foresight: &Foresight) -> Result<Database, StoreError> {
        let fence = self.orders.fence.get().copied();
        let mut is_second = false;
        loop {
            let database = match self.database.take() {
                Some(database) => database,
                None => self.connector.connect()?,
            };
            let error = match database.begin(fence, foresight) {
                Ok(true) => return Ok(database),
                Ok(false) => StoreError::FencedOff,
                Err(error) => error,
            };
            if !database.link.is_closed() && database.abandon().is_ok() {
                self.database = Some(database);
                return Err(error);
            }
            if is_second || !error.is_passing() {
                return Err(error);
            }
            is_second = true;
        }
    }

    fn end(mut self) {
        if self.uncertain.is_some() {
            // The last chance; whoever waits is told either way.
            let _ = self.mend();
        }
        if let Some(uncertain) = self.uncertain.take() {
            uncertain.end(&self.orders, None);
        }
        if let Some(database) = self.database.take() {
            database.link.close();
        }
    }
}

impl Uncertain {
    fn end(self, orders: &Orders, fate: Option<bool>) {
        let told = match fate {
            Some(true) => {
                announce(&orders.listener, self.events);
                Ok(())
            }
            Some(false) => Err(StoreError::Unavailable(String::from("the connection ended before the commit"))),
            None => {
                Err(StoreError::Backend("the connection ended during the commit, and its outcome is not known".into()))
            }
        };
        tracing::info!(units = self.units.len(), held = ?fate, "what became of a commit whose answer was lost");
        tell(self.units, &told);
    }
}

fn refuse_all(jobs: &mut VecDeque<Submitted>, error: &StoreError) {
    jobs.drain(..).for_each(|submitted| refuse(submitted.job, again(error)));
}

/// Units of work in one transaction.
struct Batch {
    database: Database,
    /// With several units each has a savepoint; one alone is undone with its transaction.
    savepoints: bool,
    units: Vec<Unit>,
}

impl Batch {
    fn unit(&mut self, job: WriteJob) {
        let mark = self.database.mark(self.savepoints);
        let outcome = catch_unwind(AssertUnwindSafe(|| job(Ok(&self.database))));
        // The server went on with nothing after a statement that failed, whatever the unit made of it.
        let failed = self.database.take_failed();
        match (outcome, failed) {
            (Ok(Outcome::Commit(finish)), None) => {
                self.units.push(Unit::Kept(finish));
                if self.savepoints {
                    self.database.keep(mark);
                }
            }
            (Ok(Outcome::Commit(finish)), Some(error)) => {
                self.units.push(Unit::Failed(finish, error));
                self.undo(mark);
            }
            (Ok(Outcome::Rollback(finish)), _) => {
                self.units.push(Unit::Undone(finish));
                self.undo(mark);
            }
            // Its caller learns of it because the sender inside the unit is dropped.
            (Err(panic), _) => {
                tracing::error!(panic = panic_text(&*panic), "a unit of work panicked and was undone");
                self.undo(mark);
            }
        }
    }

    fn undo(&self, mark: Mark) {
        if self.savepoints {
            self.database.undo(mark);
        } else {
            self.database.undo_all();
        }
    }
}
