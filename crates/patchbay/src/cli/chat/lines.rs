//! Lines from the person: an editor with history on a terminal, plain lines from a pipe.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Builder;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Behavior, Config, Editor};
use tokio::sync::mpsc;

/// Lines of history that are kept.
const HISTORY_MAX: usize = 1000;

#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Text(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    End,
}

/// Reads on a thread of its own, one line for each that is asked for: a terminal that is being read
/// cannot be given up in between.
///
/// The thread ends when this is dropped, or, while it waits for a key, with the process.
pub struct Lines {
    /// Prompts. Bounded: one line is asked for at a time.
    ask: SyncSender<String>,
    /// Bounded for the same reason.
    lines: mpsc::Receiver<Line>,
    is_asked: bool,
}

type Read = Box<dyn FnMut(&str) -> Line>;

impl Lines {
    /// An editor on the terminal; `history` is read, appended to, and readable for its owner alone.
    pub fn editor(history: Option<PathBuf>) -> io::Result<Self> {
        Self::start(move || {
            let mut editor = opened(history.as_deref())?;
            Ok(Box::new(move |prompt| edited(&mut editor, prompt, history.as_deref())))
        })
    }

    /// Lines of stdin, without prompts.
    pub fn stdin() -> io::Result<Self> {
        Self::start(|| {
            let mut lines = io::stdin().lines();
            Ok(Box::new(move |_| match lines.next() {
                Some(Ok(text)) => Line::Text(text),
                Some(Err(error)) => broken(&error),
                None => Line::End,
            }))
        })
    }

    fn start(open: impl FnOnce() -> Result<Read, ReadlineError> + Send + 'static) -> io::Result<Self> {
        let (ask, asked) = sync_channel::<String>(1);
        let (answer, lines) = mpsc::channel(1);
        Builder::new().name(String::from("chat-lines")).spawn(move || {
            // Opened for the first line only: most single messages never need one.
            let Ok(mut prompt) = asked.recv() else { return };
            let mut read = open().unwrap_or_else(|error| Box::new(move |_| broken(&error)));
            while answer.blocking_send(read(&prompt)).is_ok() {
                let Ok(next) = asked.recv() else { return };
                prompt = next;
            }
        })?;
        Ok(Self { ask, lines, is_asked: false })
    }

    /// Asks for a line, to be taken with [`Lines::answer`]; one that is asked for already is not asked for again.
    pub fn ask(&mut self, prompt: &str) {
        if !self.is_asked {
            self.is_asked = true;
            // A thread that is gone is seen when the answer is taken.
            let _ = self.ask.try_send(prompt.to_owned());
        }
    }

    /// Cancel safe: the line that was asked for is taken by the next call.
    pub async fn answer(&mut self) -> Line {
        let line = self.lines.recv().await.unwrap_or(Line::End);
        self.is_asked = false;
        line
    }
}

fn opened(history: Option<&Path>) -> Result<Editor<(), FileHistory>, ReadlineError> {
    // The prompt belongs to the terminal, also where stdout goes to a file.
    let config = Config::builder().behavior(Behavior::PreferTerm).max_history_size(HISTORY_MAX)?.build();
    let mut editor = Editor::with_config(config)?;
    if let Some(path) = history {
        let loaded = private_file(path).map_err(ReadlineError::from).and_then(|()| editor.load_history(path));
        if let Err(error) = loaded {
            tracing::warn!(%error, path = %path.display(), "the history of the chat cannot be read");
        }
    }
    Ok(editor)
}

fn broken(error: &dyn std::fmt::Display) -> Line {
    tracing::warn!(%error, "no line can be read");
    Line::End
}

fn edited(editor: &mut Editor<(), FileHistory>, prompt: &str, history: Option<&Path>) -> Line {
    match editor.readline(prompt) {
        Ok(text) => {
            if !text.trim().is_empty() {
                remember(editor, &text, history);
            }
            Line::Text(text)
        }
        Err(ReadlineError::Interrupted) => Line::Interrupted,
        Err(ReadlineError::Eof) => Line::End,
        Err(error) => broken(&error),
    }
}

fn remember(editor: &mut Editor<(), FileHistory>, line: &str, history: Option<&Path>) {
    let added = editor.add_history_entry(line);
    let Some(path) = history else { return };
    if let Err(error) = added.and_then(|_| editor.append_history(path)) {
        tracing::warn!(%error, path = %path.display(), "the history of the chat cannot be written");
    }
}

/// Makes the file with the right mode before anyone else can make it with another.
fn private_file(path: &Path) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(|_| ())
}
