//! What is kept for a while for whoever may come back for it, and may be gone then: answers of
//! conversations that last no longer than their request, and the like.

use model::Timestamp;
use serde_json::Value;

use crate::StoreError;

#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    pub id: String,
    /// The principal that it is kept for; nobody else may have it.
    pub owner: String,
    pub body: Value,
    pub at: Timestamp,
}

/// How much of one kind is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptBounds {
    /// What is older goes.
    pub since: Timestamp,
    /// How many; the oldest beyond it go.
    pub count: u64,
    /// How many bytes of bodies, as JSON text, all of them may have together; the oldest beyond it go.
    pub bytes: u64,
}

pub trait KeptQueries {
    fn get(&self, kind: &str, id: &str) -> Result<Option<Kept>, StoreError>;
}

pub trait KeptWrites {
    /// Inserts or replaces; gives how many bytes the body has, as JSON text.
    fn put(&self, kind: &str, kept: &Kept) -> Result<u64, StoreError>;
    /// Gives whether it was there.
    fn delete(&self, kind: &str, id: &str) -> Result<bool, StoreError>;
    /// Removes what goes beyond the bounds; gives how many.
    fn prune(&self, kind: &str, bounds: KeptBounds) -> Result<u64, StoreError>;
}
