//! Nodes that share the database, and what each of them holds.
//!
//! A node shows that it lives by raising its `beats`; whoever has watched them stand still for
//! `lease_ms`, by its own clock, may remove the node and take over what it held. No two clocks are
//! compared. [`Store::write_as`](crate::Store::write_as) makes sure that a removed node writes nothing.

use model::{Fence, SessionKey, Timestamp};
use serde_json::Value;

use crate::StoreError;

/// A node that is about to enter the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNode {
    /// Stays the same when the node is started again.
    pub name: String,
    pub host: String,
    pub version: String,
    pub pid: u32,
    /// Where it listens, by dialect.
    pub addresses: Value,
    /// How long its beats may stand still before it counts as dead.
    pub lease_ms: u64,
    pub at: Timestamp,
}

/// One life of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub fence: Fence,
    pub node: NewNode,
    /// Rises while it lives.
    pub beats: u64,
    /// It takes no new work and is about to leave.
    pub is_draining: bool,
}

pub trait NodeQueries {
    /// In order of fence.
    fn list(&self) -> Result<Vec<Node>, StoreError>;
    /// The node that the session belongs to: the owner of its last unfinished run, also when that node
    /// is gone (whoever takes over one of its runs takes them all), else the node that holds it. `None`
    /// when nothing is going on in it.
    fn owner_of(&self, session: &SessionKey) -> Result<Option<Fence>, StoreError>;
}

pub trait NodeWrites {
    /// Enters a node; its fence is greater than every one before. An earlier life of the same name is removed.
    fn join(&self, node: &NewNode) -> Result<Fence, StoreError>;
    /// Shows that the node lives; gives `false` when it was removed.
    fn beat(&self, fence: Fence, addresses: &Value, is_draining: bool) -> Result<bool, StoreError>;
    /// Ends the life of a node and lets go of the sessions that it held; gives `false` when it was over already.
    fn remove(&self, fence: Fence) -> Result<bool, StoreError>;
    /// Holds a session: runs that are accepted from here on belong to this node. Replaces a hold.
    fn hold(&self, session: &SessionKey, fence: Fence) -> Result<(), StoreError>;
    /// Lets go of a session; what another node holds stays held.
    fn let_go(&self, session: &SessionKey, fence: Fence) -> Result<(), StoreError>;
    /// Makes a claim on something that is due once in the cluster, such as a scheduled job: gives
    /// `true` to the first that names a later time than every claim of that name before.
    fn claim(&self, name: &str, due: Timestamp) -> Result<bool, StoreError>;
}
