//! What the two processes say: JSON behind its length in four bytes, sockets beside it.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use server::settings::DialectName;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// Bytes of one message. An offer with every listener that there may be is far below it.
const MESSAGE_MAX: usize = 64 * 1024;
/// Sockets of one message.
pub const SOCKETS_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromNew {
    Hello {
        version: String,
        /// For logs; what counts is what the kernel says of the connection.
        pid: u32,
        /// How long the old process waits for `prepared`, and for `ready`.
        timeout_ms: u64,
        /// How long answers that are being given may go on; absent = as configured.
        drain_ms: Option<u64>,
    },
    Prepared,
    Ready,
    Serving,
    Failed {
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromOld {
    Offer {
        version: String,
        pid: u32,
        /// Version of the database's schema.
        schema: u32,
        /// One for each socket that comes with it, in order.
        listeners: Vec<OfferedListener>,
        /// They come from the command line, not from the configuration.
        from_flags: bool,
    },
    Refused {
        reason: String,
    },
    Released,
    Go,
    Withdrawn {
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedListener {
    pub dialect: DialectName,
    pub address: SocketAddr,
    pub has_tls: bool,
}

/// One end of the connection.
pub struct Link {
    stream: UnixStream,
    /// Received and not taken yet; less than one message and one read.
    received: Vec<u8>,
    sockets: VecDeque<OwnedFd>,
}

impl Link {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new(), sockets: VecDeque::new() }
    }

    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let bytes = encode(message)?;
        self.stream.write_all(&bytes).await
    }

    /// The receiver gets sockets of its own that are the same listeners.
    pub async fn send_with<T: Serialize>(&mut self, message: &T, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        if sockets.len() > SOCKETS_MAX {
            return Err(invalid(format!("{} sockets are more than {SOCKETS_MAX}", sockets.len())));
        }
        let bytes = encode(message)?;
        let stream = &self.stream;
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
                    return Err(invalid(format!("{} sockets do not fit", sockets.len())));
                }
                Ok(rustix::net::sendmsg(stream, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?)
            })
            .await?;
        self.stream.write_all(&bytes[sent..]).await
    }

    /// The next message; `None` when the other end is gone. Cancel safe.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The sockets that came with what was received so far.
    pub fn take_sockets(&mut self) -> Vec<OwnedFd> {
        self.sockets.drain(..).collect()
    }

    fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((head, rest)) = self.received.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if length > MESSAGE_MAX {
            return Err(invalid(format!("a message of {length} bytes is longer than {MESSAGE_MAX}")));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let message = serde_json::from_slice(&rest[..length])?;
        self.received.drain(..4 + length);
        Ok(Some(message))
    }

    async fn read(&mut self) -> io::Result<usize> {
        let Self { stream, received, sockets } = self;
        let stream = &*stream;
        let mut chunk = [0; 4096];
        let count = stream
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut buffers = [IoSliceMut::new(&mut chunk)];
                let message = rustix::net::recvmsg(stream, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)?;
                for ancillary in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(passed) = ancillary {
                        sockets.extend(passed);
                    }
                }
                Ok(message.bytes)
            })
            .await?;
        if sockets.len() > SOCKETS_MAX {
            return Err(invalid(format!("more than {SOCKETS_MAX} sockets came")));
        }
        received.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(message)?;
    if json.len() > MESSAGE_MAX {
        return Err(invalid(format!("a message of {} bytes is longer than {MESSAGE_MAX}", json.len())));
    }
    let length = u32::try_from(json.len()).expect("a message has a limit far below");
    Ok([&length.to_be_bytes(), json.as_slice()].concat())
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    #[tokio::test]
    async fn messages_keep_their_order_and_sockets_arrive_as_the_same_listeners() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut left, mut right) = (Link::new(left), Link::new(right));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let offer = FromOld::Offer {
            version: "1".into(),
            pid: 7,
            schema: 1,
            listeners: vec![OfferedListener { dialect: DialectName::Aleph, address, has_tls: false }],
            from_flags: true,
        };
        left.send_with(&offer, &[listener.as_fd()]).await.unwrap();
        left.send(&FromOld::Released).await.unwrap();
        drop((left, listener));
        assert_eq!(right.receive::<FromOld>().await.unwrap(), Some(offer));
        assert_eq!(right.receive::<FromOld>().await.unwrap(), Some(FromOld::Released));
        assert_eq!(right.receive::<FromOld>().await.unwrap(), None);
        let sockets = right.take_sockets();
        let passed = TcpListener::from(sockets.into_iter().next().unwrap());
        assert_eq!(passed.local_addr().unwrap(), address);
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_or_no_json_is_an_error() {
        for bytes in [u32::MAX.to_be_bytes().to_vec(), b"\0\0\0\x02{]".to_vec()] {
            let (mut left, right) = UnixStream::pair().unwrap();
            left.write_all(&bytes).await.unwrap();
            assert!(Link::new(right).receive::<FromOld>().await.is_err());
        }
    }
}
