//! Transactions: one writes in the cluster at a time, each unit of work inside a savepoint.

use model::Fence;
use store::StoreError;
use store::backend::log::LogMark;
use store::backend::numbers::stored;

use crate::columns::{count, get, text};
use crate::connection::{Database, Step};
use crate::events::LAST_CURSOR;
use crate::values::{Value, values};

/// What all writing transactions of all nodes lock, in the database's own space of locks: "patchbay" in ASCII.
const WRITE_LOCK: i64 = 0x7061_7463_6862_6179;

const SAVE: &str = "SAVEPOINT unit";
const KEEP: &str = "RELEASE SAVEPOINT unit";
const KEEP_AND_SAVE: &str = "RELEASE SAVEPOINT unit; SAVEPOINT unit";
const ROLLBACK: &str = "ROLLBACK";
const UNDO: &str = "ROLLBACK TO SAVEPOINT unit; RELEASE SAVEPOINT unit";

/// The number by which the server remembers what became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionId(pub String);

/// Where a unit of work began.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    log: LogMark,
    logged: usize,
    /// The place of its savepoint among what is unsent; elsewhere there is another number by then.
    position: usize,
}

/// What was learnt when a transaction began.
pub struct Begun {
    pub id: TransactionId,
    /// The node that writes is still one.
    pub is_node: bool,
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
    /// Begins a transaction that writes: waits for those of other nodes, and reads where the log stands.
    ///
    /// The lock is a statement of its own: only a statement that begins behind it sees what those before committed.
    pub fn begin(&self, fence: Option<Fence>) -> Result<Begun, StoreError> {
        self.forget();
        self.control("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
        self.defer("SELECT pg_advisory_xact_lock($1)", values![WRITE_LOCK])?;
        let sql = format!(
            "SELECT ({LAST_CURSOR}), pg_current_xact_id()::text, \
             $1::bigint IS NULL OR EXISTS (SELECT 1 FROM nodes WHERE fence = $1)"
        );
        let fence = fence.map(|fence| stored(fence.0)).transpose()?;
        let begun = self.row(&sql, values![fence], |row| {
            let begun = Begun { id: TransactionId(text(row, 1)?), is_node: get(row, 2)? };
            self.log.last.set(Some(count(row, 0)?));
            Ok(begun)
        });
        begun?.ok_or_else(|| StoreError::Corrupt(String::from("a transaction has no number")))
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
        Mark { log: self.log.mark(), logged: self.logged.get(), position: unsent.len() }
    }

    /// Keeps what the unit since the mark wrote, as far as the transaction is kept.
    pub fn keep(&self) {
        if !self.take_back_savepoint() {
            self.control(KEEP);
        }
    }

    /// Undoes what the unit since the mark wrote, and nothing of those before it.
    pub fn undo(&self, mark: Mark) {
        self.log.return_to(mark.log);
        self.logged.set(mark.logged);
        let is_unsent = {
            let mut unsent = self.unsent.borrow_mut();
            // What was sent went out with the savepoint before it: then all that waits is the unit's own.
            let is_unsent = mark.position > 0
                && unsent.len() >= mark.position
                && matches!(unsent[mark.position - 1], Step::Control(SAVE | KEEP_AND_SAVE));
            unsent.truncate(if is_unsent { mark.position } else { 0 });
            is_unsent
        };
        if !(is_unsent && self.take_back_savepoint()) {
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

    /// Takes back a savepoint that the server has not heard of; gives whether it was so.
    fn take_back_savepoint(&self) -> bool {
        let mut unsent = self.unsent.borrow_mut();
        match unsent.last_mut() {
            Some(Step::Control(sql)) if *sql == SAVE => {
                unsent.pop();
                true
            }
            Some(Step::Control(sql)) if *sql == KEEP_AND_SAVE => {
                *sql = KEEP;
                true
            }
            _ => false,
        }
    }

    /// Commits what is open, its events with it.
    pub fn commit(&self) -> Ended {
        if let Some(error) = self.broken() {
            return Ended::Failed(error);
        }
        if let Err(error) = self.log_events() {
            return Ended::Failed(error);
        }
        {
            let mut unsent = self.unsent.borrow_mut();
            match unsent.last() {
                // The commit keeps it too.
                Some(Step::Control(sql)) if *sql == KEEP => _ = unsent.pop(),
                _ => {}
            }
            if !matches!(unsent.last(), Some(Step::Control(sql)) if *sql == ROLLBACK) {
                unsent.push(Step::Control("COMMIT"));
            }
        }
        match self.flush() {
            Ok(()) => Ended::Committed,
            // A failure that came over a living connection is an answer: the server undid everything.
            Err(error) if self.link.is_closed() => Ended::Unknown(error),
            Err(error) => Ended::Failed(error),
        }
    }

    /// Undoes what is open.
    pub fn abandon(&self) -> Result<(), StoreError> {
        self.forget();
        self.link.simple(ROLLBACK)
    }

    /// What became of a transaction whose connection ended: committed or not, or `None` when the
    /// server does not know any more. Waits until it is over.
    pub fn fate(&self, id: &TransactionId) -> Result<Option<bool>, StoreError> {
        self.forget();
        self.control("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY");
        // Who held the lock has let go of it when its end was written down, not before.
        self.defer("SELECT pg_advisory_xact_lock($1)", values![WRITE_LOCK])?;
        let asked = self.row("SELECT pg_xact_status($1::text::xid8)", vec![Value::from(id.0.as_str())], |row| {
            get::<Option<String>>(row, 0)
        });
        let fate = match asked {
            Ok(Some(Some(word))) if word == "committed" => Ok(Some(true)),
            Ok(Some(Some(word))) if word == "aborted" => Ok(Some(false)),
            Ok(Some(Some(word))) => Err(StoreError::Unavailable(format!("transaction {} is {word}", id.0))),
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        };
        self.abandon()?;
        fate
    }
}
