//! What the gateway asks of its database.
//!
//! A unit of work is a plain function over [`Tx`]: the backend runs it on a thread of its own
//! together with others in one commit, so a transaction never waits for anything but the disk and
//! cannot be left half done by a task that went away. Reads run over [`Snapshot`], several at once.
//! Read [`Store`] first. Every backend passes [`testkit`].

pub mod backend;
pub mod documents;
pub mod error;
pub mod events;
pub mod facts;
pub mod foresight;
pub mod kept;
pub mod messages;
pub mod nodes;
pub mod runs;
pub mod sessions;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod tokens;
pub mod tool_calls;
pub mod work;

pub use documents::{Document, DocumentQueries, DocumentWrites};
pub use error::StoreError;
pub use events::{EventQueries, EventWrites, LogBounds, StoredEvent};
pub use facts::{Fact, FactQueries, FactWrites};
pub use foresight::{Conversation, Foresight};
pub use kept::{Kept, KeptBounds, KeptQueries, KeptWrites};
pub use messages::{MessageHit, MessagePage, MessageQueries, MessageWrites, SearchQuery, Seen};
pub use nodes::{NewNode, Node, NodeQueries, NodeWrites};
pub use runs::{PendingInput, RunQueries, RunWrites};
pub use sessions::{SessionFilter, SessionPage, SessionQueries, SessionWrites};
pub use tokens::{TokenQueries, TokenRecord, TokenWrites};
pub use tool_calls::{ToolCallQueries, ToolCallWrites};
pub use work::{Announce, Finish, Outcome, ReadJob, Store, WriteJob};

/// A consistent view of the database; nothing in it changes while it is held.
pub trait Snapshot {
    fn sessions(&self) -> &dyn SessionQueries;
    fn messages(&self) -> &dyn MessageQueries;
    fn runs(&self) -> &dyn RunQueries;
    fn tool_calls(&self) -> &dyn ToolCallQueries;
    fn events(&self) -> &dyn EventQueries;
    fn tokens(&self) -> &dyn TokenQueries;
    fn facts(&self) -> &dyn FactQueries;
    fn documents(&self) -> &dyn DocumentQueries;
    fn kept(&self) -> &dyn KeptQueries;
    fn nodes(&self) -> &dyn NodeQueries;
}

/// A unit of work: sees its own writes; all of them are committed, or none.
pub trait Tx: Snapshot {
    fn sessions_mut(&self) -> &dyn SessionWrites;
    fn messages_mut(&self) -> &dyn MessageWrites;
    fn runs_mut(&self) -> &dyn RunWrites;
    fn tool_calls_mut(&self) -> &dyn ToolCallWrites;
    fn events_mut(&self) -> &dyn EventWrites;
    fn tokens_mut(&self) -> &dyn TokenWrites;
    fn facts_mut(&self) -> &dyn FactWrites;
    fn documents_mut(&self) -> &dyn DocumentWrites;
    fn kept_mut(&self) -> &dyn KeptWrites;
    fn nodes_mut(&self) -> &dyn NodeWrites;
}
