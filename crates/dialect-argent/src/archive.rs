//! Copies of transcripts that are about to be shortened, as files beside the database.
//!
//! A copy is for people: the gateway never reads one back, and never removes one that it told of.

use std::io;
use std::path::{Path, PathBuf};

use model::{Message, Timestamp};
use serde_json::json;
use services::sessions::History;
use tokio::fs;
use tokio::io::AsyncWriteExt;

/// In the gateway's home.
const FOLDER: &str = "archive";

/// Writes a transcript to a new file that only the gateway's user may read: one line of JSON about
/// the session, then one for each message, oldest first. `token` keeps copies of one moment apart.
pub async fn write(home: &Path, history: &History, at: Timestamp, token: &str) -> io::Result<PathBuf> {
    let folder = home.join(FOLDER);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(&folder).await?;
    let path = folder.join(format!("{}.{}.{token}.bak", history.session.id, at.as_ms()));
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
        discard(&path).await;
        return Err(error);
    }
    Ok(path)
}

/// Removes a copy that turned out not to be needed.
pub async fn discard(path: &Path) {
    if let Err(error) = fs::remove_file(path).await {
        tracing::warn!(%error, "a copy of a transcript could not be removed");
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
