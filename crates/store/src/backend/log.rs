//! Where a writer stands in the log of events.

use std::cell::{Cell, RefCell};

use crate::StoredEvent;

/// The writer's place in the log, and what it appended in the transaction at hand.
#[derive(Debug, Default)]
pub struct Log {
    /// Unknown until the first transaction, and after one that failed.
    pub last: Cell<Option<u64>>,
    pub appended: RefCell<Vec<StoredEvent>>,
}

/// A place to go back to when a unit of work is undone.
#[derive(Debug, Clone, Copy)]
pub struct LogMark {
    last: Option<u64>,
    appended: usize,
}

impl Log {
    pub fn mark(&self) -> LogMark {
        LogMark { last: self.last.get(), appended: self.appended.borrow().len() }
    }

    pub fn return_to(&self, mark: LogMark) {
        self.last.set(mark.last);
        self.appended.borrow_mut().truncate(mark.appended);
    }

    /// After a transaction that failed: the next one asks the database where it stands.
    pub fn forget(&self) {
        self.last.set(None);
        self.appended.borrow_mut().clear();
    }

    /// What the committed transaction appended, in cursor order.
    pub fn take_appended(&self) -> Vec<StoredEvent> {
        self.appended.take()
    }
}
