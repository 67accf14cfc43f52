//! A keep-alive HTTP/1.1 client connection with nothing it does not need.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    pub status: u16,
    pub content_length: Option<usize>,
    pub chunked: bool,
    pub close: bool,
}

/// How much to read from the socket at once.
const READ_SIZE: usize = 64 * 1024;

pub struct Conn {
    stream: TcpStream,
    buf: Vec<u8>,
    start: usize,
}

impl Conn {
    pub async fn connect(addr: SocketAddr) -> io::Result<Conn> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Conn { stream, buf: Vec::with_capacity(8 * 1024), start: 0 })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Gives up the connection with the bytes already read but not used.
    pub fn into_parts(mut self) -> (TcpStream, Vec<u8>) {
        let rest = self.buf.split_off(self.start);
        (self.stream, rest)
    }

    fn unread(&self) -> &[u8] {
        &self.buf[self.start..]
    }

    async fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            if self.start == self.buf.len() {
                self.buf.clear();
            } else {
                self.buf.drain(..self.start);
            }
            self.start = 0;
        }
        self.buf.reserve(READ_SIZE);
        self.stream.read_buf(&mut self.buf).await
    }

    /// Reads up to and including the blank line after the response headers.
    pub async fn read_head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(end) = find(self.unread(), b"\r\n\r\n") {
                let head = parse_head(&self.unread()[..end])?;
                self.start += end + 4;
                return Ok(head);
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads the whole body, handing each piece to `on_data` as it arrives.
    pub async fn read_body(&mut self, head: &Head, mut on_data: impl FnMut(&[u8])) -> io::Result<()> {
        if head.chunked {
            return self.read_chunked(on_data).await;
        }
        match head.content_length {
            Some(mut left) => {
                while left > 0 {
                    if self.unread().is_empty() && self.fill().await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    let take = left.min(self.unread().len());
                    on_data(&self.buf[self.start..self.start + take]);
                    self.start += take;
                    left -= take;
                }
                Ok(())
            }
            None if head.close => loop {
                if !self.unread().is_empty() {
                    on_data(self.unread());
                    self.start = self.buf.len();
                }
                if self.fill().await? == 0 {
                    return Ok(());
                }
            },
            None => Ok(()),
        }
    }

    async fn read_chunked(&mut self, mut on_data: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let line_end = loop {
                if let Some(at) = find(self.unread(), b"\r\n") {
                    break at;
                }
                if self.fill().await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            };
            let size = chunk_size(&self.unread()[..line_end])?;
            self.start += line_end + 2;
            let mut left = size;
            while left > 0 {
                if self.unread().is_empty() && self.fill().await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let take = left.min(self.unread().len());
                on_data(&self.buf[self.start..self.start + take]);
                self.start += take;
                left -= take;
            }
            while self.unread().len() < 2 {
                if self.fill().await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            self.start += 2;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

fn chunk_size(line: &[u8]) -> io::Result<usize> {
    let digits = line.split(|b| *b == b';').next().unwrap_or(line);
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| usize::from_str_radix(text.trim(), 16).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "bad chunk size"))
}

fn parse_head(bytes: &[u8]) -> io::Result<Head> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "head is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "bad status line"))?;
    let mut head = Head { status, ..Head::default() };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.content_length = value.parse().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            head.close = value.eq_ignore_ascii_case("close");
        }
    }
    Ok(head)
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if haystack.len() < needle.len() {
        return None;
    }
    let first = needle[0];
    let last_start = haystack.len() - needle.len();
    let mut at = 0;
    while at <= last_start {
        match haystack[at..=last_start].iter().position(|b| *b == first) {
            Some(step) => at += step,
            None => return None,
        }
        if &haystack[at..at + needle.len()] == needle {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Builds a request. `headers` are full lines without line ends.
pub fn request(method: &str, host: &str, path: &str, headers: &[String], body: &[u8]) -> Vec<u8> {
    let mut out = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n").into_bytes();
    for header in headers {
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !body.is_empty() {
        out.extend_from_slice(
            format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()).as_bytes(),
        );
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_head() {
        let head = parse_head(b"HTTP/1.1 201 Created\r\nContent-Length: 7\r\nConnection: close").unwrap();
        assert_eq!(head.status, 201);
        assert_eq!(head.content_length, Some(7));
        assert!(head.close && !head.chunked);
    }

    #[test]
    fn finds_bytes() {
        assert_eq!(find(b"aab", b"ab"), Some(1));
        assert_eq!(find(b"aaa", b"ab"), None);
        assert_eq!(find(b"a", b"ab"), None);
    }

    #[test]
    fn reads_chunk_sizes() {
        assert_eq!(chunk_size(b"1f;x=y").unwrap(), 31);
        assert!(chunk_size(b"zz").is_err());
    }
}
