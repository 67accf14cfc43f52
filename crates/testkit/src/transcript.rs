//! Conversations with a gateway, written down in files that people read and a runner plays.
//!
//! A file is read line by line. A line that begins with white space continues the one above it.
//!
//! | line | meaning |
//! |---|---|
//! | `# text` | a comment |
//! | `> text` | the client sends the text as one frame |
//! | `< JSON` | the next frame is this JSON |
//! | `<~ JSON` | so many such lines, so many frames, in any order |
//! | `<= text` | the next frame is this text, byte for byte |
//! | `<! 1008` | the gateway closes with this code |
//! | `@settings JSON` | before anything else: what the gateway of this file is made with |
//! | `@open [NAME]` | a new connection that says nothing; it becomes the client that speaks |
//! | `@connect [scope…] [as NAME]` | a new connection that greets with a token of these scopes, all of an operator's when none is named |
//! | `@client NAME` | another client speaks from here on; the first one is `main` |
//! | `@cut` | the client goes away without a word |
//! | `@refused 403 Header: value, …` | an upgrade with these headers is refused with the status |
//! | `@binary HEX` | the client sends a binary frame |
//! | `@silence` | nothing has come that was not read |
//! | `@token NAME [role=ROLE] scope…` | makes a credential; `"<NAME>"` stands for its secret |
//! | `@answer text` | the model's next answer, word by word |
//! | `@model JSON` | the same in detail, see below |
//! | `@reached GATE`, `@release GATE` | waits until an answer has come to the gate; opens it |
//! | `@given KEY role: text` | puts a message into a session, as if it had been there for long |
//! | `@advance MS` | moves the clock |
//! | `@file JSON` | what `config.reload` finds |
//! | `@idle` | waits until no run is unfinished |
//! | `@ended "<NAME>"` | waits until the run with the captured id is over |
//! | `@restart` | stops the gateway and starts it again; all clients are gone |
//!
//! In what is expected, `"<any>"`, `"<string>"`, `"<int>"`, `"<bool>"` and `"<iso>"` (RFC 3339 in UTC
//! with milliseconds) stand for any value of the kind. Any other `"<name>"` stands for whatever is
//! there the first time, and for the same value from then on, also in `>` lines. A member
//! `"...": "..."` lets an object have further members, a last element `"..."` an array further elements.
//! In a `>` line `<<200*[>>` is `[` 200 times.
//!
//! `@model` takes `reasoning`, `text`, `tools` (`[[id, name, arguments]…]`), `hold` (a gate before
//! `then`, further text), `broken` (the answer breaks off with this message), or alone `refuse`
//! (the provider refuses with this message).
//!
//! When the file is over, every answer of the model was asked for and no client has unread frames.

mod matching;
mod parse;
mod player;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use parse::{Step, Transcript};
pub use player::{Failure, Speaker, play};

use crate::TestGateway;

/// The transcripts of a folder, by name.
///
/// # Panics
/// When the folder or a file in it cannot be read or is no transcript, or when there are none.
pub fn read_folder(folder: &Path) -> Vec<Transcript> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no transcripts", folder.display());
    paths.iter().map(|path| read(path)).collect()
}

/// # Panics
/// When the file cannot be read or is no transcript.
pub fn read(path: &Path) -> Transcript {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Transcript::parse(&name, &text).unwrap_or_else(|problem| panic!("{problem}"))
}

/// Plays every transcript of a folder, each with a gateway that `make` builds from its `@settings`
/// (`null` without them). Afterwards the event log must be [sound](crate::log) if all runs are over.
///
/// # Panics
/// With every failure, each with the whole exchange.
pub async fn play_folder(folder: &Path, speaker: &Speaker, make: impl AsyncFn(&Value) -> TestGateway) {
    let mut failures = Vec::new();
    for transcript in read_folder(folder) {
        let mut gateway = make(&transcript.settings).await;
        if let Err(failure) = play(&transcript, speaker, &mut gateway).await {
            failures.push(failure.to_string());
        } else if gateway.services.runs.unfinished_count() == 0 {
            let faults = crate::log::faults(&gateway.events().await);
            failures.extend(faults.into_iter().map(|fault| format!("{}: {fault}", transcript.name)));
        }
        gateway.stop().await;
    }
    assert!(failures.is_empty(), "{} transcripts fail:\n\n{}", failures.len(), failures.join("\n\n"));
}
