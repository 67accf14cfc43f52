//! What is known of a connection before its first request.

use std::net::SocketAddr;

/// Facts of a connection that the accept loop puts into each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    pub remote: SocketAddr,
    pub listens_on_loopback: bool,
}
