//! Server-sent events, of which vendors use only `data`.

use super::{EVENT_BYTES_MAX, OnEvent, append, is_whole};
use crate::fault::Fault;

/// An incremental parser of `text/event-stream`.
///
/// Delivers the `data` of each event, its lines joined by a newline. Lines end with LF, CR or CRLF.
/// Comments and the fields `event`, `id` and `retry` are passed over: every vendor repeats the name
/// of the event in its data.
#[derive(Debug)]
pub struct SseParser {
    /// The begun line.
    line: Vec<u8>,
    /// The `data` lines of the begun event.
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: an LF now belongs to it.
    skips_lf: bool,
    is_first_line: bool,
    limit: usize,
}

impl Default for SseParser {
    fn default() -> Self {
        Self::with_limit(EVENT_BYTES_MAX)
    }
}

impl SseParser {
    /// `limit` is the longest line and the longest event, in bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { line: Vec::new(), data: Vec::new(), has_data: false, skips_lf: false, is_first_line: true, limit }
    }

    /// Takes the next piece of the stream and delivers the events that it completes.
    pub fn feed(&mut self, mut bytes: &[u8], mut on_event: impl OnEvent) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.skips_lf) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                return append(&mut self.line, bytes, self.limit);
            };
            self.skips_lf = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.take_line(&bytes[..end], &mut on_event)?;
            } else {
                append(&mut self.line, &bytes[..end], self.limit)?;
                let line = std::mem::take(&mut self.line);
                self.take_line(&line, &mut on_event)?;
                // Gives the allocation back for the next split line.
                self.line = line;
                self.line.clear();
            }
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// The stream has ended. An event without its blank line is delivered only if it is whole.
    pub fn finish(&mut self, mut on_event: impl OnEvent) -> Result<(), Fault> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take_line(&line, &mut on_event)?;
        }
        if self.has_data && is_whole(&self.data) { self.deliver(&mut on_event) } else { Ok(()) }
    }

    fn take_line(&mut self, line: &[u8], on_event: &mut impl OnEvent) -> Result<(), Fault> {
        let mut line = line;
        if std::mem::take(&mut self.is_first_line) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            return if self.has_data { self.deliver(on_event) } else { Ok(()) };
        }
        let Some(rest) = line.strip_prefix(b"data") else { return Ok(()) };
        let value = match rest {
            [] => rest,
            [b':', b' ', value @ ..] | [b':', value @ ..] => value,
            _ => return Ok(()),
        };
        if self.has_data {
            append(&mut self.data, b"\n", self.limit)?;
        }
        self.has_data = true;
        append(&mut self.data, value, self.limit)
    }

    fn deliver(&mut self, on_event: &mut impl OnEvent) -> Result<(), Fault> {
        let result = on_event(&self.data);
        self.data.clear();
        self.has_data = false;
        result
    }
}
