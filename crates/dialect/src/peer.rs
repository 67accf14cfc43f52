//! Who is on the other side of a connection, before it has said anything.

use std::net::SocketAddr;

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

/// The peer of an HTTP request or a WebSocket upgrade.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// The other end of the TCP connection.
    pub remote: SocketAddr,
    pub headers: HeaderMap,
    /// The listener is reachable from this machine only.
    pub listens_on_loopback: bool,
}

impl PeerInfo {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn origin(&self) -> Option<&str> {
        self.headers.get(ORIGIN).and_then(|value| value.to_str().ok())
    }

    pub fn host(&self) -> Option<&str> {
        self.headers.get(HOST).and_then(|value| value.to_str().ok())
    }

    pub fn is_loopback(&self) -> bool {
        self.remote.ip().is_loopback()
    }
}
