//! Questions about transcripts.

use model::{AgentId, Message, MessageId, NewMessage, Role, RunId, SessionId, SessionKey, Timestamp};

use crate::StoreError;

/// Which messages of one transcript: the newest `limit` that match, skipping `skip_newest` of them.
#[derive(Debug, Clone, Default)]
pub struct MessagePage {
    /// Empty = all roles.
    pub roles: Vec<Role>,
    /// Only messages made before this time.
    pub before: Option<Timestamp>,
    pub skip_newest: u64,
    /// 0 = all.
    pub limit: u64,
}

/// The beginning of a transcript, as somebody saw it: enough to tell whether it is still the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub first: MessageId,
    pub last: MessageId,
    /// The place of `last`.
    pub last_seq: i64,
    /// Messages from `first` to `last`.
    pub count: u64,
}

/// A full-text search over the messages of one agent.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    pub agent: AgentId,
    /// Words; all of them must occur. Free of any query syntax.
    pub text: String,
    pub session: Option<SessionKey>,
    pub roles: Vec<Role>,
    /// 1..=100.
    pub limit: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MessageHit {
    pub session_key: SessionKey,
    pub message: Message,
    /// The words in their surroundings, at most about 160 characters.
    pub snippet: String,
    /// Greater is better.
    pub score: f64,
}

pub trait MessageQueries {
    fn get(&self, id: &MessageId) -> Result<Option<Message>, StoreError>;
    /// Oldest first.
    fn page(&self, session: &SessionId, page: &MessagePage) -> Result<Vec<Message>, StoreError>;
    /// What came behind `seen`, oldest first; `None` when the transcript does not begin so any more,
    /// because it was shortened or cleared.
    fn behind(&self, session: &SessionId, seen: &Seen) -> Result<Option<Vec<Message>>, StoreError>;
    fn count(&self, session: &SessionId) -> Result<u64, StoreError>;
    /// Messages that a run wrote, oldest first, its user message included.
    fn of_run(&self, run: &RunId) -> Result<Vec<Message>, StoreError>;
    fn first_user_text(&self, session: &SessionId) -> Result<Option<String>, StoreError>;
    fn search(&self, query: &SearchQuery) -> Result<Vec<MessageHit>, StoreError>;
}

pub trait MessageWrites {
    /// Puts the message at the end of the transcript; gives its `seq`. Does not touch the session row.
    fn append(
        &self,
        session: (&SessionKey, &SessionId),
        id: &MessageId,
        run: Option<&RunId>,
        at: Timestamp,
        body: &NewMessage,
    ) -> Result<i64, StoreError>;
    /// Puts a stored message at the end of another transcript; gives its new `seq`. `None` = there is no such message.
    fn transfer(&self, id: &MessageId, to: (&SessionKey, &SessionId)) -> Result<Option<i64>, StoreError>;
    /// Replaces the messages with `seq <= up_to` by `summary`, which takes the place `up_to`; gives how many were replaced.
    fn replace_head(
        &self,
        session: (&SessionKey, &SessionId),
        up_to: i64,
        id: &MessageId,
        at: Timestamp,
        summary: &NewMessage,
    ) -> Result<u64, StoreError>;
    /// Removes the messages with `seq <= up_to`; gives how many.
    fn remove_head(&self, session: &SessionId, up_to: i64) -> Result<u64, StoreError>;
    /// Removes all messages, or all but system messages; gives how many.
    fn clear(&self, session: &SessionId, keep_system: bool) -> Result<u64, StoreError>;
    /// Sum of the token estimates of the messages of the transcript.
    fn token_sum(&self, session: &SessionId) -> Result<u64, StoreError>;
}
