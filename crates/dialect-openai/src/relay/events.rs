//! Cutting an upstream's bytes into events, whatever pieces the network delivers.
//!
//! An event that arrives whole, which nearly all do, is not copied.

use memchr::memchr2;

/// Longest event, in bytes; a longer one ends the stream as malformed.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a stream consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// The data of an event.
    Data(&'a [u8]),
    /// A comment or another field, without its line end.
    Line(&'a [u8]),
}

/// An event grew beyond all reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The begun line.
    line: Vec<u8>,
    /// The `data` lines of the begun event, joined by newlines.
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: an LF now belongs to it.
    skips_lf: bool,
    /// Not the first line any more, which may begin with a mark of its encoding.
    has_begun: bool,
}

impl Splitter {
    /// Takes the next piece of the stream and delivers what it completes.
    pub fn feed(&mut self, mut bytes: &[u8], mut deliver: impl FnMut(Item<'_>)) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.skips_lf) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else { return append(&mut self.line, bytes) };
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.line.is_empty() && !self.has_data {
                // The usual event: one line of data that a blank line follows, all of it at hand.
                let rest = if bytes[end] == b'\r' { rest.strip_prefix(b"\n") } else { Some(rest) };
                let after = rest.and_then(|rest| rest.strip_prefix(b"\n").or_else(|| rest.strip_prefix(b"\r\n")));
                if let (Some(data), Some(after)) = (line.strip_prefix(b"data:"), after) {
                    self.has_begun = true;
                    deliver(Item::Data(data.strip_prefix(b" ").unwrap_or(data)));
                    bytes = after;
                    continue;
                }
            }
            self.skips_lf = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.take_line(line, &mut deliver)?;
            } else {
                append(&mut self.line, line)?;
                let line = std::mem::take(&mut self.line);
                self.take_line(&line, &mut deliver)?;
                // Gives the allocation back for the next split line.
                self.line = line;
                self.line.clear();
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The stream has ended; what was begun counts as complete.
    pub fn finish(&mut self, mut deliver: impl FnMut(Item<'_>)) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take_line(&line, &mut deliver)?;
        }
        self.take_line(b"", &mut deliver)
    }

    fn take_line(&mut self, line: &[u8], deliver: &mut impl FnMut(Item<'_>)) -> Result<(), TooLong> {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let line = if is_first { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                deliver(Item::Data(&self.data));
                self.data.clear();
            }
            return Ok(());
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            Some(_) | None => {
                deliver(Item::Line(line));
                return Ok(());
            }
        };
        if self.has_data {
            append(&mut self.data, b"\n")?;
        }
        self.has_data = true;
        append(&mut self.data, value)
    }
}

fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), TooLong> {
    if buffer.len() + bytes.len() > EVENT_BYTES_MAX {
        return Err(TooLong);
    }
    buffer.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(pieces: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut seen = Vec::new();
        let mut keep = |item: Item<'_>| {
            seen.push(match item {
                Item::Data(data) => format!("data {}", String::from_utf8_lossy(data)),
                Item::Line(line) => format!("line {}", String::from_utf8_lossy(line)),
            });
        };
        for piece in pieces {
            splitter.feed(piece, &mut keep).unwrap();
        }
        splitter.finish(&mut keep).unwrap();
        seen
    }

    #[test]
    fn fields_are_told_apart_whatever_ends_their_lines() {
        let text = b"\xEF\xBB\xBFdata: a\r\n\r\n: hi\n\nevent: x\rdata:b\rdata: c\r\rdata: d\n\ndatabase: no\n\ndata";
        let expected = ["data a", "line : hi", "line event: x", "data b\nc", "data d", "line database: no", "data "];
        assert_eq!(items(&[text]), expected);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut splitter = Splitter::default();
        let megabyte = vec![b'x'; 1 << 20];
        let mut fed = 0;
        while splitter.feed(&megabyte, |_| panic!("nothing is complete")).is_ok() {
            fed += 1;
        }
        assert_eq!(fed, 16);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_items(
            text in "(data: ?|event: |: |data|x|é|🐴|\\{\"a\":1\\}|\n|\r|\r\n){0,40}",
            places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes = text.as_bytes();
            let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(items(&pieces), items(&[bytes]));
        }
    }
}
