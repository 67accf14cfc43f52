//! Committing, with the index of words brought up to date.

use store::StoreError;

use crate::connection::Database;
use crate::search;

impl Database {
    /// Commits what is open, the words of its messages with it.
    pub fn commit(&self) -> Result<(), StoreError> {
        search::index(self)?;
        self.control("COMMIT")?;
        self.words.forget();
        Ok(())
    }
}
