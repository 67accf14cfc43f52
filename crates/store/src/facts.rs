//! Facts that an agent remembers.

use model::{AgentId, SessionKey, Timestamp};

use crate::StoreError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub id: String,
    pub agent: AgentId,
    pub text: String,
    /// Lower-case, single spaces, no final punctuation: two facts with one form are one fact.
    pub normalised: String,
    pub session: Option<SessionKey>,
    /// Where it comes from: `compaction`, `user`, `tool`.
    pub source: String,
    pub created_at: Timestamp,
}

pub trait FactQueries {
    /// Newest first.
    fn list(&self, agent: &AgentId, limit: u32) -> Result<Vec<Fact>, StoreError>;
}

pub trait FactWrites {
    /// Gives `false`, and writes nothing, when the agent has a fact with the same normalised text.
    fn insert(&self, fact: &Fact) -> Result<bool, StoreError>;
}
