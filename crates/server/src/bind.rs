//! Sockets that listen: bound here, or taken over from whoever bound them.
//!
//! They outlive the gateway behind them: while none accepts, connections wait in the kernel.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

use tokio_rustls::TlsAcceptor;

use crate::settings::{DialectName, ListenSettings};
use crate::tls;

/// Connections waiting to be accepted.
const BACKLOG: u32 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address} for {dialect}: {source}{hint}", dialect = .dialect.as_str())]
    Address { address: SocketAddr, dialect: DialectName, source: std::io::Error, hint: &'static str },
    #[error("listener {address}: {reason}")]
    Tls { address: SocketAddr, reason: String },
    #[error(
        "listener {address} is reachable from other machines and needs authentication: set `auth.required = true`, or listen on 127.0.0.1"
    )]
    Open { address: SocketAddr },
}

impl BindError {
    /// Somebody else listens there.
    pub fn is_taken(&self) -> bool {
        matches!(self, BindError::Address { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse)
    }
}

/// A socket that listens already.
#[derive(Debug)]
pub struct Inherited {
    pub listener: TcpListener,
    /// The listener that it was made for.
    pub dialect: Option<DialectName>,
    /// It serves that listener wherever it listens, instead of the configured address.
    pub decides_address: bool,
}

/// A listener that has its address and does not accept yet.
pub struct Bound {
    pub dialect: DialectName,
    pub address: SocketAddr,
    pub has_tls: bool,
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: Option<TlsAcceptor>,
}

/// Takes all addresses, or none.
pub fn bind(listeners: &[ListenSettings], auth_required: bool) -> Result<Vec<Bound>, BindError> {
    adopt(listeners, Vec::new(), auth_required).map(|(bound, _)| bound)
}

/// Like [`bind`], and an inherited socket is used where it fits. Gives back those that fit nowhere.
pub fn adopt(
    listeners: &[ListenSettings],
    mut inherited: Vec<Inherited>,
    auth_required: bool,
) -> Result<(Vec<Bound>, Vec<Inherited>), BindError> {
    let mut bound = Vec::with_capacity(listeners.len());
    for settings in listeners {
        let socket = match fitting(settings, &inherited) {
            Some(position) => inherited.swap_remove(position).listener,
            None => listen(settings)?,
        };
        bound.push(furnish(settings, socket, auth_required)?);
    }
    Ok((bound, inherited))
}

/// The socket for a listener: one that was made for it, else one at its address, else one of its
/// dialect where any port will do.
fn fitting(settings: &ListenSettings, inherited: &[Inherited]) -> Option<usize> {
    let at = |socket: &Inherited| socket.listener.local_addr().ok();
    let is_named = |socket: &&Inherited| socket.dialect == Some(settings.dialect);
    let named = inherited.iter().position(|socket| socket.decides_address && is_named(&socket));
    let free = || inherited.iter().enumerate().filter(|(_, socket)| !socket.decides_address);
    named
        .or_else(|| free().find(|(_, socket)| at(socket) == Some(settings.address)).map(|(position, _)| position))
        .or_else(|| {
            let any_port = |socket: &Inherited| at(socket).is_some_and(|at| at.ip() == settings.address.ip());
            let mut of_dialect = free().filter(|(_, socket)| is_named(socket) && any_port(socket));
            of_dialect.next().filter(|_| settings.address.port() == 0).map(|(position, _)| position)
        })
}

fn listen(settings: &ListenSettings) -> Result<TcpListener, BindError> {
    let ListenSettings { address, dialect, .. } = *settings;
    let listening = || {
        let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    listening().map_err(|source: std::io::Error| {
        let hint = if source.kind() == std::io::ErrorKind::AddrInUse {
            "; another gateway runs, or choose another address"
        } else {
            ""
        };
        BindError::Address { address, dialect, source, hint }
    })
}

/// Everything but the socket: what its address asks for, and TLS.
fn furnish(settings: &ListenSettings, listener: TcpListener, auth_required: bool) -> Result<Bound, BindError> {
    let dialect = settings.dialect;
    let fail = |source| BindError::Address { address: settings.address, dialect, source, hint: "" };
    let address = listener.local_addr().map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    if !address.ip().is_loopback() {
        if !auth_required {
            return Err(BindError::Open { address });
        }
        if settings.tls.is_none() {
            tracing::warn!(%address, "other machines can reach this listener and it has no TLS: tokens travel in the clear");
        }
    }
    let acceptor = match &settings.tls {
        Some(tls) => Some(tls::acceptor(tls).map_err(|reason| BindError::Tls { address, reason })?),
        None => None,
    };
    Ok(Bound { dialect, address, has_tls: acceptor.is_some(), listener, acceptor })
}

impl Bound {
    /// The address to tell people.
    pub fn url(&self) -> String {
        format!("{}://{}", self.dialect.scheme(self.has_tls), self.address)
    }

    /// The socket, for handing it to another process.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(dialect: DialectName, address: &str) -> ListenSettings {
        ListenSettings { dialect, address: address.parse().unwrap(), tls: None }
    }

    fn socket(dialect: Option<DialectName>, decides_address: bool) -> (Inherited, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (Inherited { listener, dialect, decides_address }, address)
    }

    fn addresses(bound: &[Bound]) -> Vec<(DialectName, SocketAddr)> {
        bound.iter().map(|bound| (bound.dialect, bound.address)).collect()
    }

    #[test]
    fn sockets_find_their_listeners_by_name_by_address_and_by_dialect() {
        let (named, at_named) = socket(Some(DialectName::Argent), true);
        let (by_address, at_address) = socket(None, false);
        let (by_dialect, at_dialect) = socket(Some(DialectName::Aleph), false);
        let listeners = [
            wanted(DialectName::Aleph, "127.0.0.1:0"),
            wanted(DialectName::Comis, &at_address.to_string()),
            wanted(DialectName::Argent, "127.0.0.1:1"),
        ];
        let (bound, left) = adopt(&listeners, vec![named, by_address, by_dialect], true).unwrap();
        let expected =
            [(DialectName::Aleph, at_dialect), (DialectName::Comis, at_address), (DialectName::Argent, at_named)];
        assert_eq!((addresses(&bound), left.len()), (expected.to_vec(), 0));
    }

    #[tokio::test]
    async fn a_socket_that_fits_nowhere_is_given_back_and_the_rest_is_bound() {
        let (elsewhere, address) = socket(Some(DialectName::Comis), false);
        let (named, _) = socket(Some(DialectName::Argent), true);
        let listeners = [wanted(DialectName::Aleph, "127.0.0.1:0")];
        let (bound, left) = adopt(&listeners, vec![elsewhere, named], true).unwrap();
        assert!(bound[0].address != address && left.len() == 2);
    }

    #[test]
    fn an_inherited_socket_that_others_can_reach_needs_authentication() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let inherited = Inherited { listener, dialect: Some(DialectName::Aleph), decides_address: true };
        let refused = adopt(&[wanted(DialectName::Aleph, "127.0.0.1:1")], vec![inherited], false);
        assert!(matches!(refused.map(drop), Err(BindError::Open { .. })));
    }
}
