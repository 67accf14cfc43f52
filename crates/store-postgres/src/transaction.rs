//! Transactions: one writes in the cluster at a time, each unit of work inside a savepoint.

use model::Fence;
use store::backend::log::LogMark;
use store::backend::numbers::stored;
use store::{Foresight, StoreError};

use crate::columns::{count, get, text};
use crate::connection::Database;
use crate::events::LAST_CURSOR;
use crate::questions::Questions;
use crate::rows::Step;
use crate::values::values;

/// What all writing transactions of all nodes lock, in the database's own space of locks: "patchbay" in ASCII.
pub const WRITE_LOCK: i64 = 0x7061_7463_6862_6179;

const SAVE: &str = "SAVEPOINT unit";
const KEEP: &str = "RELEASE SAVEPOINT unit";
const KEEP_AND_SAVE: &str = "RELEASE SAVEPOINT unit; SAVEPOINT unit";
const ROLLBACK: &str = "ROLLBACK";
const UNDO: &str = "ROLLBACK TO SAVEPOINT unit; RELEASE SAVEPOINT unit";

/// A batch of one writer, as it is written down with what it commits.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    pub writer: &'a str,
    pub number: i64,
}

/// Where a unit of work began.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    log: LogMark,
    logged: usize,
    /// The place of its savepoint among what is unsent; elsewhere there is another number by then.
    position: usize,
}

/// How a transaction ended.
#[derive(Debug)]
pub enum Ended {
    Committed,
    /// Nothing of it was written.
    Failed(StoreError),
    /// The connection ended while the answer to the commit was on its way.
    Unknown(StoreError),
}

impl Database {
    /// Begins a transaction that writes: waits for those of other nodes, and reads where the log stands
    /// and what the units are about to ask for. Gives whether the node that writes is still one.
    ///
    /// The lock is a statement of its own: only a statement that begins behind it sees what those before committed.
    pub fn begin(&self, fence: Option<Fence>, foresight: &Foresight) -> Result<bool, StoreError> {
        self.forget();
        self.control("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
        self.defer("SELECT pg_advisory_xact_lock($1)", values![WRITE_LOCK])?;
        let sql =
            format!("SELECT ({LAST_CURSOR}), $1::bigint IS NULL OR EXISTS (SELECT 1 FROM nodes WHERE fence = $1)");
        let fence = fence.map(|fence| stored(fence.0)).transpose()?;
        let mut questions = Questions::of(foresight);
        let mut statements = vec![(sql, values![fence])];
        statements.extend(questions.statements());
        let answers = self.ask_all(statements)?;
        let Some(((rows, _), foreseen)) = answers.split_first() else { return Ok(false) };
        let Some(row) = rows.first() else { return Ok(false) };
        self.log.last.set(Some(count(row, 0)?));
        questions.learn(self, foreseen)?;
        get(row, 1)
    }

    /// Asks behind the lock, before any unit has run, what more units are about to ask for.
    pub fn foresee(&self, foresight: &Foresight) -> Result<(), StoreError> {
        let mut questions = Questions::of(foresight);
        let answers = self.ask_all(questions.statements())?;
        questions.learn(self, &answers)
    }

    /// Begins a view of one moment, taken by its first query.
    pub fn begin_read(&self) {
        self.forget();
        self.control("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    }

    /// Ends a view; one that asked nothing was never begun.
    pub fn end_read(&self) -> Result<(), StoreError> {
        let was_begun = self.unsent.borrow().is_empty();
        self.forget();
        if was_begun { self.link.simple("COMMIT") } else { Ok(()) }
    }

    /// Sets a mark to go back to, and with `savepoint` tells the server to set one too.
    pub fn mark(&self, savepoint: bool) -> Mark {
        let mut unsent = self.unsent.borrow_mut();
        if savepoint {
            match unsent.last_mut() {
                Some(Step::Control(sql)) if *sql == KEEP => *sql = KEEP_AND_SAVE,
                _ => unsent.push(Step::Control(SAVE)),
            }
        }
        self.known.borrow_mut().mark();
        Mark { log: self.log.mark(), logged: self.logged.get(), position: unsent.len() }
    }

    /// Keeps what the unit since the mark wrote, as far as the transaction is kept.
    pub fn keep(&self, mark: Mark) {
        // A unit that nothing was sent of cannot have failed on the way: it needs no savepoint.
        if !self.take_back_savepoint(mark) {
            self.control(KEEP);
        }
    }

    /// Undoes what the unit since the mark wrote, and nothing of those before it.
    pub fn undo(&self, mark: Mark) {
        self.log.return_to(mark.log);
        self.known.borrow_mut().undo();
        self.logged.set(mark.logged);
        let is_unsent = self.is_savepoint_unsent(mark);
        // Once the savepoint was sent, all that waits is the unit's own.
        self.unsent.borrow_mut().truncate(if is_unsent { mark.position } else { 0 });
        if !self.take_back_savepoint(mark) {
            self.control(UNDO);
        }
    }

    /// Undoes the only unit of the transaction, and with it the transaction: nothing is left to be committed.
    pub fn undo_all(&self) {
        if self.broken().is_none() {
            self.forget();
            self.control(ROLLBACK);
        }
    }

    /// Whether the savepoint of the mark still waits to be sent.
    fn is_savepoint_unsent(&self, mark: Mark) -> bool {
        let unsent = self.unsent.borrow();
        let step = mark.position.checked_sub(1).and_then(|position| unsent.get(position));
        matches!(step, Some(Step::Control(SAVE | KEEP_AND_SAVE)))
    }

    /// Takes back a savepoint that the server has not heard of; gives whether it was so.
    fn take_back_savepoint(&self, mark: Mark) -> bool {
        if !self.is_savepoint_unsent(mark) {
            return false;
        }
        let mut unsent = self.unsent.borrow_mut();
        match &mut unsent[mark.position - 1] {
            Step::Control(sql) if *sql == KEEP_AND_SAVE => *sql = KEEP,
            _ => drop(unsent.remove(mark.position - 1)),
        }
        true
    }

    /// Commits what is open, its events and its stamp with it.
    pub fn commit(&self, stamp: Stamp<'_>) -> Ended {
        if let Some(error) = self.broken() {
            return Ended::Failed(error);
        }
        let is_undone = matches!(self.unsent.borrow().last(), Some(Step::Control(sql)) if *sql == ROLLBACK);
        if !is_undone {
            if let Err(error) = self.log_events().and_then(|()| self.stamp(stamp)) {
                return Ended::Failed(error);
            }
            self.control("COMMIT");
        }
        match self.flush() {
            Ok(()) => Ended::Committed,
            // A failure that came over a living connection is an answer: the server undid everything.
            Err(error) if self.link.is_closed() => Ended::Unknown(error),
            Err(error) => Ended::Failed(error),
        }
    }

    fn stamp(&self, Stamp { writer, number }: Stamp<'_>) -> Result<(), StoreError> {
        let sql = "INSERT INTO batches (writer, number, committed_at) VALUES ($1, $2, now()) \
            ON CONFLICT (writer) DO UPDATE SET number = $2, committed_at = now()";
        self.defer(sql, values![writer, number])
    }

    /// A name that no writer has had, and an end to the stamps of those that are long gone.
    pub fn new_writer(&self) -> Result<String, StoreError> {
        self.execute("DELETE FROM batches WHERE committed_at < now() - interval '30 days'", Vec::new())?;
        let name = self.row("SELECT gen_random_uuid()::text", Vec::new(), |row| text(row, 0))?;
        name.ok_or_else(|| StoreError::Corrupt(String::from("the server made no name")))
    }

    /// Undoes what is open.
    pub fn abandon(&self) -> Result<(), StoreError> {
        self.forget();
        self.link.simple(ROLLBACK)
    }

    /// Whether a batch whose connection ended was committed. Waits until its transaction is over.
    pub fn is_committed(&self, stamp: Stamp<'_>) -> Result<bool, StoreError> {
        self.forget();
        self.control("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY");
        // Who held the lock has let go of it when its end was written down, not before.
        self.defer("SELECT pg_advisory_xact_lock($1)", values![WRITE_LOCK])?;
        let sql = "SELECT EXISTS (SELECT 1 FROM batches WHERE writer = $1 AND number = $2)";
        let is_committed = self.row(sql, values![stamp.writer, stamp.number], |row| get(row, 0));
        self.abandon()?;
        Ok(is_committed? == Some(true))
    }
}
