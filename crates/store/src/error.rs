//! What a database can answer instead of a result.

use std::error::Error;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The backend is closed, restarting or out of reach. Nothing of the unit of work was written.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// No space left, or the file system became read-only. Nothing of the unit of work was written.
    #[error("the database cannot be written: {0}")]
    NotWritable(String),
    /// A row breaks the schema's rules, for instance a second row with one key.
    #[error("the change conflicts with what is stored: {0}")]
    Conflict(String),
    /// What is stored cannot be read back.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
    /// The database was written by a newer program.
    #[error(
        "the database has schema version {found}, this program knows up to {known}; start the newer program, or restore a backup made before the update"
    )]
    FromTheFuture { found: u32, known: u32 },
    /// The database does not let us in, or cannot serve us: a wrong password, a missing database, too few
    /// rights. Trying again changes nothing; the text says what does.
    #[error("the database cannot be used: {0}")]
    Refused(String),
    /// Another node has taken over from this one: it must not write any more.
    #[error("this node was replaced by another one")]
    FencedOff,
    #[error("the database failed")]
    Backend(#[source] Box<dyn Error + Send + Sync>),
}

impl StoreError {
    /// Whether the same may succeed later, without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        matches!(self, StoreError::Unavailable(_))
    }
}

impl From<StoreError> for model::OpError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::NotWritable(_) | StoreError::FencedOff => {
                model::OpError::unavailable("the database is temporarily unavailable; retry").with_source(error)
            }
            other => model::OpError::internal(other),
        }
    }
}
