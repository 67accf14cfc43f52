//! Copies of transcripts that are about to be shortened, as files in the home's `backups/`.
//!
//! A copy is for people: the gateway never reads one back. Of each session the newest few are kept,
//! and they go with the session.

use std::io;
use std::path::{Path, PathBuf};

use model::{Message, SessionKey, Timestamp};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::sessions::History;

/// Copies kept of one session; the oldest go first.
pub const COPIES_MAX: usize = 5;

/// Bytes of a key's hash that name the folder of a session.
const NAME_BYTES: usize = 16;

pub(crate) struct Archive {
    folder: PathBuf,
}

impl Archive {
    pub(crate) fn new(home: &Path) -> Self {
        Self { folder: home.join("backups").join("sessions") }
    }

    /// Writes a transcript to a new file that only the gateway's user may read: one line of JSON about
    /// the session, then one for each message, oldest first. `token` keeps copies of one moment apart.
    pub(crate) async fn write(&self, history: &History, at: Timestamp, token: &str) -> io::Result<PathBuf> {
        let folder = self.folder_of(&history.session.key);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        builder.mode(0o700);
        builder.create(&folder).await?;
        let path = folder.join(format!("{}.{token}.bak", at.as_ms()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        let mut file = options.open(&path).await?;
        let written = async {
            file.write_all(text(history, at).as_bytes()).await?;
            file.sync_all().await
        };
        if let Err(error) = written.await {
            self.discard(&path).await;
            return Err(error);
        }
        Ok(path)
    }

    /// Removes a copy that turned out not to be needed.
    pub(crate) async fn discard(&self, path: &Path) {
        if let Err(error) = fs::remove_file(path).await {
            tracing::warn!(%error, "a copy of a transcript could not be removed");
        }
    }

    /// Removes the oldest copies of a session beyond [`COPIES_MAX`], whatever the clock says never `newest`.
    pub(crate) async fn thin(&self, key: &SessionKey, newest: &Path) {
        if let Err(error) = self.try_thin(key, newest).await {
            tracing::warn!(%error, "old copies of a transcript could not be removed");
        }
    }

    async fn try_thin(&self, key: &SessionKey, newest: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(self.folder_of(key)).await?;
        let mut copies = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            if path != newest {
                copies.push(path);
            }
        }
        // The names begin with the time, which has the same number of digits for centuries.
        copies.sort();
        for old in &copies[..copies.len().saturating_sub(COPIES_MAX - 1)] {
            fs::remove_file(old).await?;
        }
        Ok(())
    }

    /// Removes all copies of a session.
    pub(crate) async fn forget(&self, key: &SessionKey) {
        match fs::remove_dir_all(self.folder_of(key)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the copies of a deleted session could not be removed");
            }
            _ => {}
        }
    }

    /// Keys may hold what file names may not.
    fn folder_of(&self, key: &SessionKey) -> PathBuf {
        let hash = Sha256::digest(key.as_str().as_bytes());
        self.folder.join(hex::encode(&hash[..NAME_BYTES]))
    }
}

fn text(history: &History, at: Timestamp) -> String {
    let head = json!({ "type": "session", "key": history.session.key, "id": history.session.id, "archivedAt": at });
    let mut text = format!("{head}\n");
    for message in &history.messages {
        text.push_str(&line(message));
        text.push('\n');
    }
    text
}

fn line(message: &Message) -> String {
    let body = &message.body;
    json!({
        "type": "message",
        "id": message.id,
        "seq": message.seq,
        "runId": message.run_id,
        "timestamp": message.created_at,
        "role": body.role,
        "content": body.content,
        "toolCalls": body.tool_calls,
        "toolCallId": body.tool_call_id,
        "reasoning": body.reasoning,
        "usage": body.usage,
        "model": body.model,
        "metadata": body.metadata,
    })
    .to_string()
}
