//! A session that is held still while somebody changes it.

use std::sync::Arc;
use std::time::Duration;

use model::SessionKey;

use super::Runs;

/// No run of the session starts until this is dropped; then the next one does, also when whoever
/// held it went away in the middle.
pub(crate) struct Held {
    runs: Arc<Runs>,
    key: SessionKey,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.runs.mailboxes.let_go(&self.key);
        self.runs.pump(&self.key);
    }
}

/// Somebody waits to hold the session, until this is dropped.
struct Wish<'a> {
    runs: &'a Arc<Runs>,
    key: &'a SessionKey,
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        self.runs.mailboxes.unwish(self.key);
        self.runs.pump(self.key);
    }
}

impl Runs {
    /// Waits until no run of the session is active, then holds it, before any run that waits;
    /// `None` when the time is up first.
    pub(crate) async fn hold(self: &Arc<Self>, key: &SessionKey, limit: Duration) -> Option<Held> {
        self.mailboxes.wish(key);
        let _wish = Wish { runs: self, key };
        let is_held = self.mailboxes.hold(key, limit).await;
        is_held.then(|| Held { runs: Arc::clone(self), key: key.clone() })
    }
}
