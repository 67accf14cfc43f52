//! Accepting connections, and letting them go.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use services::Lifecycle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::accepted::Accepted;
use crate::bind::Bound;
use crate::guard::Guard;
use crate::settings::DialectName;

/// Connections of all listeners together.
const CONNECTIONS_MAX: usize = 20_000;
const TLS_HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A client that has not sent its request's head by then is let go.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long a client gets to send one more request on an open connection before the gateway moves.
const LAST_REQUEST_MAX: Duration = Duration::from_secs(1);
/// A connection that was quiet for this long is about to send nothing: it may be closed by a gateway that leaves.
const QUIET: Duration = Duration::from_millis(250);
/// Answers get at least this long, however short the limit: a request that is on its way is one, too.
const LAST_ANSWERS_MIN: Duration = Duration::from_millis(500);

/// What every connection of a listener meets.
pub(crate) struct Served {
    pub router: Router,
    pub guard: Guard,
}

/// The HTTP connections of a gateway; a connection that became a WebSocket is none of them.
#[derive(Debug, Default, Clone)]
pub struct Connections {
    loops: TaskTracker,
    /// Accepted before the gateway began to move, and after.
    settled: TaskTracker,
    passing: TaskTracker,
}

/// Accepts on all listeners until the gateway drains or leaves. The tasks are tracked by the lifecycle.
pub(crate) fn accept(
    bound: &[Bound],
    served: impl Fn(DialectName) -> Served,
    lifecycle: &Lifecycle,
) -> std::io::Result<Connections> {
    // A copy of each socket: it leaves the runtime with this gateway, while the socket itself goes on listening.
    let sockets: std::io::Result<Vec<_>> =
        bound.iter().map(|bound| Ok((bound, TcpListener::from_std(bound.listener.try_clone()?)?))).collect();
    let connections = Connections::default();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    for (bound, socket) in sockets? {
        let door = Door {
            socket,
            acceptor: bound.acceptor.clone(),
            listens_on_loopback: bound.address.ip().is_loopback(),
            served: Arc::new(served(bound.dialect)),
            places: Arc::clone(&places),
            connections: connections.clone(),
            lifecycle: lifecycle.clone(),
        };
        lifecycle.spawn(connections.loops.track_future(door.open()));
    }
    Ok(connections)
}

impl Connections {
    /// Has every client connect anew, without a request of theirs being lost, and lets nobody in at
    /// the end. For up to a second all are served as ever, and told with each answer that the
    /// connection ends; then nobody is accepted any more, and what is being answered gets `limit` to
    /// end. Gives how many answers are not through by then.
    pub async fn let_go(&self, lifecycle: &Lifecycle, limit: Duration) -> usize {
        lifecycle.start_moving();
        self.settled.close();
        // Whoever is left after that has nothing to ask.
        let _ = tokio::time::timeout(LAST_REQUEST_MAX, self.settled.wait()).await;
        lifecycle.leave();
        self.loops.close();
        self.loops.wait().await;
        self.passing.close();
        let answered = async { tokio::join!(self.settled.wait(), self.passing.wait()) };
        match tokio::time::timeout(limit.max(LAST_ANSWERS_MIN), answered).await {
            Ok(_) => 0,
            Err(_) => self.settled.len() + self.passing.len(),
        }
    }
}

/// One listener while a gateway accepts on it.
struct Door {
    socket: TcpListener,
    acceptor: Option<TlsAcceptor>,
    listens_on_loopback: bool,
    served: Arc<Served>,
    places: Arc<Semaphore>,
    connections: Connections,
    lifecycle: Lifecycle,
}

impl Door {
    async fn open(self) {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = self.lifecycle.draining().cancelled() => break,
                () = self.lifecycle.leaving().cancelled() => break,
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
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                tracing::warn!(limit = CONNECTIONS_MAX, "too many connections; one was let go");
                continue;
            };
            let is_moving = self.lifecycle.moving().is_cancelled();
            let tracker = if is_moving { &self.connections.passing } else { &self.connections.settled };
            let (served, acceptor, lifecycle) =
                (Arc::clone(&self.served), self.acceptor.clone(), self.lifecycle.clone());
            let facts = Accepted { remote, listens_on_loopback: self.listens_on_loopback };
            self.lifecycle.spawn(tracker.track_future(async move {
                connection(stream, facts, served, acceptor, &lifecycle).await;
                drop(place);
            }));
        }
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
    let activity = Arc::new(Activity::new());
    let (heard, moving) = (Arc::clone(&activity), lifecycle.moving().clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(facts);
        request.extensions_mut().insert(axum::extract::ConnectInfo(facts.remote));
        heard.asked(request.version());
        let (served, heard, moving) = (Arc::clone(&served), Arc::clone(&heard), moving.clone());
        async move {
            let version = request.version();
            let mut response = match served.guard.refusal(&request) {
                Some(refused) => refused,
                None => answer(&served.router, request).await,
            };
            heard.answered();
            let ends = moving.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
            if ends && version < Version::HTTP_2 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        // First, so that a request that is there already is read.
        biased;
        ended = connection.as_mut() => ended,
        () = over(&activity, lifecycle) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// When a connection was last used.
struct Activity {
    since: Instant,
    /// Milliseconds after `since`.
    last_ms: AtomicU64,
    /// The protocol itself can say that the connection ends.
    is_http2: AtomicBool,
}

impl Activity {
    fn new() -> Self {
        Self { since: Instant::now(), last_ms: AtomicU64::new(0), is_http2: AtomicBool::new(false) }
    }

    fn asked(&self, version: Version) {
        self.is_http2.store(version == Version::HTTP_2, Ordering::Relaxed);
    }

    fn answered(&self) {
        let passed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(passed, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.since + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

/// Waits until an idle connection may be closed without a request being lost in all likelihood: one
/// that is being answered goes on to the end of the answer anyway.
async fn over(activity: &Activity, lifecycle: &Lifecycle) {
    let calm = async {
        lifecycle.moving().cancelled().await;
        if activity.is_http2.load(Ordering::Relaxed) {
            return;
        }
        let _ = tokio::time::timeout(LAST_REQUEST_MAX, lifecycle.leaving().cancelled()).await;
        let mut until = activity.last() + QUIET;
        while until > Instant::now() {
            tokio::time::sleep_until(until).await;
            until = activity.last() + QUIET;
        }
    };
    tokio::select! {
        () = lifecycle.stopping().cancelled() => {}
        () = calm => {}
    }
}
