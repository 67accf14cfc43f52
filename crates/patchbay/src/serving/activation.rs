//! Listening sockets that a service manager made: systemd's socket activation.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use anyhow::{Context, bail};
use rustix::io::FdFlags;
use rustix::net::{SocketType, sockopt};
use server::Inherited;
use server::settings::DialectName;

/// The sockets that this process was started with; none when it was not started by such a manager.
///
/// A socket that has a dialect's name (`FileDescriptorName=`) serves that dialect's listener, wherever
/// it listens; others serve the listener with their address.
pub fn sockets() -> anyhow::Result<Vec<Inherited>> {
    let passed = sd_listen_fds::get().context("LISTEN_FDS and LISTEN_PID cannot be understood")?;
    passed.into_iter().map(|(name, socket)| inherited(name.as_deref(), socket.into_std())).collect()
}

fn inherited(name: Option<&str>, socket: OwnedFd) -> anyhow::Result<Inherited> {
    let dialect = name.and_then(DialectName::parse);
    let described = || format!("the socket `{}` that was passed", name.unwrap_or("unknown"));
    // What we start gets no listening sockets of ours.
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC).with_context(described)?;
    let kind = sockopt::socket_type(&socket).with_context(described)?;
    if kind != SocketType::STREAM || !sockopt::socket_acceptconn(&socket).with_context(described)? {
        bail!("{} is not one that listens; use ListenStream= in the socket unit", described());
    }
    let listener = TcpListener::from(socket);
    listener.local_addr().with_context(described).with_context(|| "only TCP is served")?;
    Ok(Inherited { listener, dialect, decides_address: dialect.is_some() })
}

/// A passed socket that no listener wants would hold clients that nobody serves.
pub fn refuse_unused(unused: &[Inherited]) -> anyhow::Result<()> {
    let Some(socket) = unused.first() else { return Ok(()) };
    let address = socket.listener.local_addr().context("a socket without an address was passed")?;
    bail!(
        "a socket for {address} was passed, and no listener is configured there: name it `aleph`, `comis` or \
         `argent` with FileDescriptorName=, or configure a [[listen]] with that address"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_decides_the_listener_and_other_names_leave_it_to_the_address() {
        for (name, expected) in
            [(Some("comis"), Some(DialectName::Comis)), (Some("patchbay.socket"), None), (None, None)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let inherited = inherited(name, listener.into()).unwrap();
            assert_eq!((inherited.dialect, inherited.decides_address), (expected, expected.is_some()), "{name:?}");
        }
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let datagram = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let refused = inherited(Some("aleph"), datagram.into()).unwrap_err().to_string();
        assert!(refused.contains("`aleph`") && refused.contains("ListenStream="), "{refused}");
    }

    #[test]
    fn a_socket_that_nobody_wants_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let unused = [Inherited { listener, dialect: None, decides_address: false }];
        assert!(refuse_unused(&unused).unwrap_err().to_string().contains(&address));
        refuse_unused(&[]).unwrap();
    }
}
