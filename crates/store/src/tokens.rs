//! Credentials, stored hashed.

use model::{ScopeSet, Timestamp, TokenId};

use crate::StoreError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    pub id: TokenId,
    pub name: String,
    /// Lower-case hex SHA-256 of the secret.
    pub hash: String,
    pub scopes: ScopeSet,
    /// `operator`, `node`, `device` or `guest`.
    pub role: String,
    /// The device that alone may use it.
    pub device_id: Option<String>,
    /// The token whose holder made it; revoking that one revokes this one.
    pub parent: Option<TokenId>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

pub trait TokenQueries {
    fn by_hash(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError>;
    fn get(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError>;
    /// Newest first; revoked and expired ones included.
    fn list(&self) -> Result<Vec<TokenRecord>, StoreError>;
}

pub trait TokenWrites {
    /// Inserts or replaces by id. [`StoreError::Conflict`] when another id has the hash.
    fn put(&self, token: &TokenRecord) -> Result<(), StoreError>;
    /// Removes tokens that expired or were revoked before `before`; gives how many.
    fn prune(&self, before: Timestamp) -> Result<u64, StoreError>;
}
