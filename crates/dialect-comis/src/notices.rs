//! Notifications to every open socket: what the gateway says without being asked.

use axum::extract::ws::Utf8Bytes;
use model::Timestamp;
use serde_json::json;
use tokio::sync::broadcast;

/// Notifications that a connection may be behind; beyond it the oldest are lost to it.
const BEHIND_MAX: usize = 64;

/// Clones speak to the same sockets.
#[derive(Clone)]
pub(crate) struct Notices(broadcast::Sender<Utf8Bytes>);

impl Default for Notices {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }
}

impl Notices {
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Utf8Bytes> {
        self.0.subscribe()
    }

    /// `notification.message`; where nobody is connected it is told to nobody.
    pub(crate) fn message(&self, text: &str, at: Timestamp) {
        let params = json!({ "text": text, "timestamp": at });
        let frame = json!({ "jsonrpc": "2.0", "method": "notification.message", "params": params });
        let _ = self.0.send(frame.to_string().into());
    }
}
