//! Binding listeners and accepting connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use services::Lifecycle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::accepted::Accepted;
use crate::guard::Guard;
use crate::settings::{DialectName, ListenSettings};
use crate::surface::Surface;
use crate::tls;

/// Connections of all listeners together.
const CONNECTIONS_MAX: usize = 20_000;
const TLS_HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A client that has not sent its request's head by then is let go.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
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

/// A listener that has its address and does not accept yet.
pub struct Bound {
    pub dialect: DialectName,
    pub address: SocketAddr,
    pub has_tls: bool,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
}

/// What every connection of a listener meets.
struct Served {
    router: Router,
    guard: Guard,
}

/// Takes all addresses, or none.
pub fn bind(listeners: &[ListenSettings], auth_required: bool) -> Result<Vec<Bound>, BindError> {
    listeners.iter().map(|settings| bind_one(settings, auth_required)).collect()
}

fn bind_one(settings: &ListenSettings, auth_required: bool) -> Result<Bound, BindError> {
    let (address, dialect) = (settings.address, settings.dialect);
    if !address.ip().is_loopback() {
        if !auth_required {
            return Err(BindError::Open { address });
        }
        if settings.tls.is_none() {
            tracing::warn!(%address, "other machines can reach this listener and it has no TLS: tokens travel in the clear");
        }
    }
    let fail = |source: std::io::Error| {
        let hint = if source.kind() == std::io::ErrorKind::AddrInUse {
            "; another gateway runs, or choose another address"
        } else {
            ""
        };
        BindError::Address { address, dialect, source, hint }
    };
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }
        .map_err(fail)?;
    socket.set_reuseaddr(true).map_err(fail)?;
    socket.bind(address).map_err(fail)?;
    let listener = socket.listen(BACKLOG).map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
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

    /// Accepts until the gateway drains. The task is tracked by the lifecycle.
    pub fn serve(self, surface: &Surface, lifecycle: &Lifecycle) {
        let served = Arc::new(Served { router: surface.router(self.dialect), guard: surface.guard() });
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let lifecycle = lifecycle.clone();
        lifecycle.clone().spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = self.listener.accept() => accepted,
                    () = lifecycle.draining().cancelled() => break,
                };
                let (stream, remote) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file descriptors, most likely: what is open must go on.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                };
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    tracing::warn!(limit = CONNECTIONS_MAX, "too many connections; one was let go");
                    continue;
                };
                let (served, acceptor, lifetime) = (Arc::clone(&served), self.acceptor.clone(), lifecycle.clone());
                let facts = Accepted { remote, listens_on_loopback: self.address.ip().is_loopback() };
                lifecycle.spawn(async move {
                    connection(stream, facts, served, acceptor, &lifetime).await;
                    drop(place);
                });
            }
        });
    }
}

async fn connection(
    stream: TcpStream,
    facts: Accepted,
    served: Arc<Served>,
    acceptor: Option<TlsAcceptor>,
    lifecycle: &Lifecycle,
) {
    // Without it the last piece of a stream waits for the peer's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    match acceptor {
        None => http(stream, facts, served, lifecycle).await,
        Some(acceptor) => match tokio::time::timeout(TLS_HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => http(stream, facts, served, lifecycle).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

/// The answer of the routes. A panic in one of them is this request's alone.
async fn answer(router: &Router, request: Request<Incoming>) -> Response {
    let answered = router.clone().oneshot(request.map(Body::new));
    match AssertUnwindSafe(answered).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => {
            let body = axum::Json(serde_json::json!({ "error": "Internal error" }));
            (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
        }
    }
}

async fn http<S>(stream: S, facts: Accepted, served: Arc<Served>, lifecycle: &Lifecycle)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(facts);
        request.extensions_mut().insert(axum::extract::ConnectInfo(facts.remote));
        let served = Arc::clone(&served);
        async move {
            Ok::<_, Infallible>(match served.guard.refusal(&request) {
                Some(refused) => refused,
                None => answer(&served.router, request).await,
            })
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = lifecycle.stopping().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
