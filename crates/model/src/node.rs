//! Nodes: gateway processes that share one database.

use serde::{Deserialize, Serialize};

/// The number of one life of a node, greater than that of every life before it in the cluster.
///
/// Whoever has a smaller number than the one written down has been replaced, and can write nothing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl std::fmt::Display for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
