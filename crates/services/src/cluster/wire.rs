//! What nodes say to each other.
//!
//! A message is one JSON object with the items that were waiting. Nothing in it is the only copy of
//! anything: a cursor says how far the log goes, a delta carries what the run's final message will
//! say again, and whoever missed the beginning of a text asks for it.

use model::{Cursor, Fence, RunId, Timestamp};
use serde::{Deserialize, Serialize};

/// One message on the link.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Message {
    /// The cluster that it belongs to.
    pub cluster: String,
    pub from: Fence,
    pub items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(super) enum Item {
    /// The log goes up to here.
    Log { cursor: Cursor },
    /// The answer to the client is on its way: the run that was accepted for another node may start.
    Go { run: RunId },
    /// A piece of a run's text.
    Text(RemoteText),
    /// Somebody follows this run and has not seen the beginning of its text.
    Ask { run: RunId },
}

/// A piece of the text of a run that another node drives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RemoteText {
    pub run: RunId,
    pub at: Timestamp,
    /// Comes behind this event of the log.
    pub position: Cursor,
    pub seq: u64,
    pub index: u64,
    pub thinking: bool,
    /// Where the piece begins, and where its message does, in bytes of all text of the run.
    pub start: usize,
    pub message: usize,
    pub text: String,
}
