//! Questions about sessions.

use model::{AgentId, Session, SessionKey, Timestamp};

use crate::StoreError;

/// Which sessions; empty fields do not filter. Ephemeral sessions never match.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    pub agent: Option<AgentId>,
    /// As [`SessionKey::channel`] tells it.
    pub channel: Option<String>,
    pub updated_since: Option<Timestamp>,
    /// Part of the key, any case.
    pub key_contains: Option<String>,
    /// Part of the key or of the label, any case.
    pub search: Option<String>,
    /// Exact label.
    pub label: Option<String>,
    pub spawned_by: Option<SessionKey>,
    pub offset: u64,
    /// 0 = all.
    pub limit: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SessionPage {
    /// Newest `updated_at` first; equal times by key.
    pub sessions: Vec<Session>,
    /// Matches before paging.
    pub total: u64,
}

pub trait SessionQueries {
    fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError>;
    fn list(&self, filter: &SessionFilter) -> Result<SessionPage, StoreError>;
    /// Keys of stored sessions not updated since `before`, oldest first, at most `limit`.
    fn idle_since(&self, before: Timestamp, limit: u32) -> Result<Vec<SessionKey>, StoreError>;
    /// Keys of ephemeral sessions, for the clean-up after a crash.
    fn ephemeral(&self) -> Result<Vec<SessionKey>, StoreError>;
}

pub trait SessionWrites {
    /// Inserts or replaces.
    fn put(&self, session: &Session) -> Result<(), StoreError>;
    /// Removes the session with the messages of all its transcripts, its runs, their tool calls and
    /// inputs. Gives the messages removed of the present transcript, or `None` when there was no such session.
    fn delete(&self, key: &SessionKey) -> Result<Option<u64>, StoreError>;
}
