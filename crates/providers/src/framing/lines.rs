//! Newline-delimited JSON.

use super::{EVENT_BYTES_MAX, OnEvent, append, is_whole};
use crate::fault::Fault;

/// An incremental parser of `application/x-ndjson`. Delivers each line that is not blank.
#[derive(Debug)]
pub struct LineParser {
    line: Vec<u8>,
    limit: usize,
}

impl Default for LineParser {
    fn default() -> Self {
        Self::with_limit(EVENT_BYTES_MAX)
    }
}

impl LineParser {
    /// `limit` is the longest line, in bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { line: Vec::new(), limit }
    }

    /// Takes the next piece of the stream and delivers the lines that it completes.
    pub fn feed(&mut self, mut bytes: &[u8], mut on_event: impl OnEvent) -> Result<(), Fault> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.line.is_empty() {
                deliver(&bytes[..end], &mut on_event)?;
            } else {
                append(&mut self.line, &bytes[..end], self.limit)?;
                let result = deliver(&self.line, &mut on_event);
                self.line.clear();
                result?;
            }
            bytes = &bytes[end + 1..];
        }
        append(&mut self.line, bytes, self.limit)
    }

    /// The stream has ended. A line without its newline is delivered only if it is whole.
    pub fn finish(&mut self, mut on_event: impl OnEvent) -> Result<(), Fault> {
        let line = std::mem::take(&mut self.line);
        if is_whole(&line) { deliver(&line, &mut on_event) } else { Ok(()) }
    }
}

fn deliver(line: &[u8], on_event: &mut impl OnEvent) -> Result<(), Fault> {
    let line = line.trim_ascii();
    if line.is_empty() { Ok(()) } else { on_event(line) }
}
