//! A checked configuration, and the hash that tells one text of it from another.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// A configuration that passed every check.
pub struct Loaded<T> {
    pub config: Arc<T>,
    /// What works but is probably not meant.
    pub warnings: Vec<Problem>,
    /// The file that was read; `None` when there is none and the defaults hold.
    pub source: Option<PathBuf>,
    /// SHA-256 of the file in hex; of nothing when there is none.
    pub hash: String,
    /// As serialized, but with the secrets themselves: for comparing, never for showing.
    pub(crate) tree: Value,
}

impl<T> std::fmt::Debug for Loaded<T> {
    /// Without the configuration, which holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("source", &self.source).field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// SHA-256 in hex, as clients hold it to say which version they changed.
pub(crate) fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
