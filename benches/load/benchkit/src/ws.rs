//! A WebSocket client (RFC 6455) over plain TCP: text and binary frames,
//! fragments, pings. No extensions are offered, so none is ever used.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http1;
use crate::url::Url;

const OP_CONTINUE: u8 = 0x0;
const OP_TEXT: u8 = 0x1;
const OP_BINARY: u8 = 0x2;
const OP_CLOSE: u8 = 0x8;
const OP_PING: u8 = 0x9;
const OP_PONG: u8 = 0xA;

/// The mask is fixed: it hides nothing on a loopback, but the server still has
/// to undo it as it would for any client.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub struct WsConn {
    stream: TcpStream,
    buf: Vec<u8>,
    start: usize,
    message: Vec<u8>,
}

impl WsConn {
    pub async fn connect(url: &Url, headers: &[String]) -> io::Result<WsConn> {
        let mut conn = http1::Conn::connect(url.addr).await?;
        let mut lines = vec![
            "upgrade: websocket".to_string(),
            "connection: Upgrade".to_string(),
            "sec-websocket-version: 13".to_string(),
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==".to_string(),
        ];
        lines.extend_from_slice(headers);
        conn.send(&http1::request("GET", &url.host, &url.path, &lines, b"")).await?;
        let head = conn.read_head().await?;
        if head.status != 101 {
            return Err(io::Error::other(format!("upgrade refused: {}", head.status)));
        }
        let (stream, buf) = conn.into_parts();
        Ok(WsConn { stream, buf, start: 0, message: Vec::new() })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub async fn send_text(&mut self, text: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(text.len() + 14);
        encode(&mut frame, OP_TEXT, text);
        self.stream.write_all(&frame).await
    }

    pub async fn send_raw(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_all(frame).await
    }

    /// The next whole message. Answers pings on the way.
    pub async fn recv(&mut self) -> io::Result<&[u8]> {
        self.message.clear();
        loop {
            let (opcode, fin, from, to) = self.next_frame().await?;
            self.start = to;
            match opcode {
                OP_TEXT | OP_BINARY if fin => return Ok(&self.buf[from..to]),
                OP_TEXT | OP_BINARY | OP_CONTINUE => {
                    self.message.extend_from_slice(&self.buf[from..to]);
                    if fin {
                        return Ok(&self.message);
                    }
                }
                OP_PING => {
                    let mut frame = Vec::new();
                    encode(&mut frame, OP_PONG, &self.buf[from..to]);
                    self.stream.write_all(&frame).await?;
                }
                OP_PONG => {}
                OP_CLOSE => {
                    let payload = &self.buf[from..to];
                    let code = payload.get(..2).map_or(1005, |b| u16::from_be_bytes([b[0], b[1]]));
                    let reason = payload.get(2..).map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default();
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionAborted,
                        format!("closed by server: {code} {reason}"),
                    ));
                }
                other => return Err(io::Error::other(format!("unknown opcode {other}"))),
            }
        }
    }

    /// Opcode, last-fragment flag, and the payload's place in the buffer.
    async fn next_frame(&mut self) -> io::Result<(u8, bool, usize, usize)> {
        loop {
            if let Some(frame) = decode(&self.buf[self.start..])? {
                let from = self.start + frame.offset;
                return Ok((frame.opcode, frame.fin, from, from + frame.len));
            }
            if self.start > 0 {
                self.buf.drain(..self.start);
                self.start = 0;
            }
            self.buf.reserve(16 * 1024);
            if self.stream.read_buf(&mut self.buf).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Appends a masked frame.
pub fn encode(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().enumerate().map(|(i, b)| b ^ MASK[i & 3]));
}

pub fn encode_text(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    encode(&mut out, OP_TEXT, payload);
    out
}

struct Frame {
    opcode: u8,
    fin: bool,
    offset: usize,
    len: usize,
}

/// Reads one unmasked frame if it is there whole.
fn decode(buf: &[u8]) -> io::Result<Option<Frame>> {
    if buf.len() < 2 {
        return Ok(None);
    }
    if buf[1] & 0x80 != 0 {
        return Err(io::Error::other("the server sent a masked frame"));
    }
    let (offset, len) = match buf[1] & 0x7f {
        126 if buf.len() >= 4 => (4, usize::from(u16::from_be_bytes([buf[2], buf[3]]))),
        127 if buf.len() >= 10 => {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&buf[2..10]);
            (10, u64::from_be_bytes(bytes) as usize)
        }
        126 | 127 => return Ok(None),
        len => (2, usize::from(len)),
    };
    if buf.len() < offset + len {
        return Ok(None);
    }
    Ok(Some(Frame { opcode: buf[0] & 0x0f, fin: buf[0] & 0x80 != 0, offset, len }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_all_three_lengths() {
        for (len, head) in [(5usize, 6), (300, 8), (70_000, 14)] {
            let mut out = vec![];
            encode(&mut out, OP_TEXT, &vec![b'x'; len]);
            assert_eq!(out.len(), len + head);
        }
    }

    #[test]
    fn decodes_only_whole_frames() {
        let mut frame = vec![0x81, 126, 0x01, 0x2c];
        frame.extend(vec![b'x'; 299]);
        assert!(decode(&frame).unwrap().is_none());
        frame.push(b'x');
        let decoded = decode(&frame).unwrap().unwrap();
        assert_eq!((decoded.offset, decoded.len, decoded.fin), (4, 300, true));
    }
}
