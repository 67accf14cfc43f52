//! Small JSON documents of nouns that nobody queries by content: devices, pairing requests, settings.

use model::Timestamp;
use serde_json::Value;

use crate::StoreError;

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub id: String,
    pub body: Value,
    pub updated_at: Timestamp,
}

pub trait DocumentQueries {
    fn get(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError>;
    /// In order of id.
    fn list(&self, kind: &str) -> Result<Vec<Document>, StoreError>;
}

pub trait DocumentWrites {
    /// Inserts or replaces.
    fn put(&self, kind: &str, document: &Document) -> Result<(), StoreError>;
    /// Gives whether it was there.
    fn delete(&self, kind: &str, id: &str) -> Result<bool, StoreError>;
}
