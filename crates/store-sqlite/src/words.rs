//! Words that wait for the index of the full-text search.

use std::cell::{Cell, RefCell};

/// Messages of the transaction at hand whose words are not yet in the index.
///
/// The index writes out all it holds in memory at every savepoint. So the words of a whole batch are
/// kept here and given to it once, before the commit, when no savepoint is open.
#[derive(Default)]
pub struct Words {
    /// Row and text.
    pub(crate) queued: RefCell<Vec<(i64, String)>>,
    /// How many of them the index has been given early. They stay queued: an undone unit of work may
    /// take back what the index was given inside it.
    pub(crate) given: Cell<usize>,
}

/// A place to go back to when a unit of work is undone.
#[derive(Debug, Clone, Copy)]
pub struct WordsMark {
    queued: usize,
    given: usize,
}

impl Words {
    pub fn mark(&self) -> WordsMark {
        WordsMark { queued: self.queued.borrow().len(), given: self.given.get() }
    }

    pub fn return_to(&self, mark: WordsMark) {
        self.queued.borrow_mut().truncate(mark.queued);
        self.given.set(mark.given);
    }

    /// At the end of a transaction.
    pub fn forget(&self) {
        self.queued.borrow_mut().clear();
        self.given.set(0);
    }
}
