//! Messages with one client-chosen id, one after the other.

use std::hash::{DefaultHasher, Hash, Hasher};

use model::RunId;

/// Locks for ids that clients chose, spread by hash: a fixed number serves any number of ids.
pub(crate) struct IdLocks([tokio::sync::Mutex<()>; 64]);

impl Default for IdLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| tokio::sync::Mutex::new(())))
    }
}

impl IdLocks {
    pub(crate) async fn lock(&self, id: &RunId) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % self.0.len() as u64).unwrap_or(0);
        self.0[at].lock().await
    }
}
