//! `read_file`: lines of a text file of the workspace.

use std::fs::File;
use std::io::{BufRead, BufReader};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::arguments::{schema_of, typed};
use crate::context::ToolContext;
use crate::tool::{Tool, ToolError, ToolOutput};
use crate::workspace::{InsidePath, Workspace, blocking, failure_io};

/// Most bytes of one answer.
pub const WINDOW_BYTES_MAX: usize = 256 * 1024;
/// Most lines of one answer, and how many come without a limit.
pub const LINES_MAX: u32 = 2000;
/// How far into a file the wanted line is looked for.
pub const SCAN_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub struct ReadFile;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Path of the file, relative to the workspace, with `/` between folders.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// First line to read, counted from 1.
    #[schemars(range(min = 1))]
    offset: Option<u64>,
    /// How many lines to read.
    #[schemars(range(min = 1, max = 2000))]
    limit: Option<u32>,
}

#[async_trait]
impl Tool for ReadFile {
    fn name(&self) -> &'static str {
        "read_file"
    }

    fn description(&self) -> &'static str {
        "Reads a text file of the workspace. Gives at most 2000 lines and 256 KiB, beginning with line `offset`; \
         a note in brackets at the end says when the file goes on and with which offset. \
         Binary files, folders, devices and symbolic links are refused."
    }

    fn parameters(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolError> {
        let Arguments { path, offset, limit } = typed(arguments)?;
        let path = InsidePath::parse_file(&path)?;
        let (folder, cancel) = (context.workspace.clone(), context.cancel.clone());
        let first = offset.unwrap_or(1).max(1);
        let limit = limit.unwrap_or(LINES_MAX).clamp(1, LINES_MAX);
        blocking(move || {
            let (file, size) = Workspace::open(&folder)?.file(&path)?;
            let window = Window::read(file, first, limit, &cancel, &path)?;
            window.into_output(&path, size)
        })
        .await
    }
}

/// Some lines of a file.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    first: u64,
    /// Whole lines in `bytes`.
    lines: u64,
    is_at_end: bool,
}

impl Window {
    fn read(
        file: File,
        first: u64,
        limit: u32,
        cancel: &CancellationToken,
        path: &InsidePath,
    ) -> Result<Self, ToolError> {
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        let mut window = Window { first, ..Window::default() };
        let (mut line, mut scanned) = (1_u64, 0_u64);
        let mut ended_inside_line = false;
        loop {
            if cancel.is_cancelled() {
                return Err(ToolError::Cancelled);
            }
            let chunk = reader.fill_buf().map_err(|error| failure_io(&error, path))?;
            if chunk.is_empty() {
                window.is_at_end = true;
                break;
            }
            if scanned == 0 && chunk.iter().take(8192).any(|byte| *byte == 0) {
                return Err(binary(path));
            }
            let mut used = 0;
            while used < chunk.len() && !(line >= first && window.is_full(limit)) {
                let rest = &chunk[used..];
                let newline = rest.iter().position(|byte| *byte == b'\n');
                let mut taken = newline.map_or(rest.len(), |at| at + 1);
                if line >= first {
                    taken = taken.min(WINDOW_BYTES_MAX - window.bytes.len());
                    window.bytes.extend_from_slice(&rest[..taken]);
                }
                used += taken;
                ended_inside_line = rest[taken - 1] != b'\n';
                if !ended_inside_line {
                    window.lines += u64::from(line >= first);
                    line += 1;
                }
            }
            let is_done = used < chunk.len();
            reader.consume(used);
            scanned += used as u64;
            if is_done {
                break;
            }
            if line < first && scanned > SCAN_BYTES_MAX {
                return Err(ToolError::Failed(format!(
                    "line {first} of `{path}` lies further than 64 MiB into the file"
                )));
            }
        }
        let total = if ended_inside_line { line } else { line - 1 };
        if window.is_at_end && first > total && first > 1 {
            return Err(ToolError::Failed(format!("`{path}` has {total} lines: there is no line {first}")));
        }
        Ok(window)
    }

    fn is_full(&self, limit: u32) -> bool {
        self.lines >= u64::from(limit) || self.bytes.len() >= WINDOW_BYTES_MAX
    }

    fn into_output(mut self, path: &InsidePath, size: u64) -> Result<ToolOutput, ToolError> {
        if self.bytes.contains(&0) {
            return Err(binary(path));
        }
        let mut notes = Vec::new();
        if self.bytes.is_empty() {
            notes.push(format!("[`{path}` is empty]"));
        } else if !self.is_at_end {
            notes.push(self.cut_to_lines(size));
        }
        let text = match String::from_utf8(self.bytes) {
            Ok(text) => text,
            Err(error) => {
                notes.push(String::from("[not UTF-8: what could not be read is shown as \u{fffd}]"));
                String::from_utf8_lossy(error.as_bytes()).into_owned()
            }
        };
        let gap = if text.is_empty() || text.ends_with('\n') || notes.is_empty() { "" } else { "\n" };
        Ok(ToolOutput { text: format!("{text}{gap}{}", notes.join("\n")) })
    }

    /// Drops a line that did not fit whole, unless there is no other, and says how to go on.
    fn cut_to_lines(&mut self, size: u64) -> String {
        let first = self.first;
        let Some(last_newline) = self.bytes.iter().rposition(|byte| *byte == b'\n') else {
            // The cut may have gone through a character.
            if let Err(error) = std::str::from_utf8(&self.bytes)
                && error.error_len().is_none()
            {
                self.bytes.truncate(error.valid_up_to());
            }
            return format!("[line {first} is longer than 256 KiB and cut; go on with offset {}]", first + 1);
        };
        self.bytes.truncate(last_newline + 1);
        let last = first + self.lines - 1;
        format!("[lines {first} to {last}; the file of {size} bytes goes on: use offset {}]", last + 1)
    }
}

fn binary(path: &InsidePath) -> ToolError {
    ToolError::Refused(format!("`{path}` is a binary file; only text can be read"))
}
