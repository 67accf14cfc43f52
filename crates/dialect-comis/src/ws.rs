//! JSON-RPC over WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use dialect::http::{self, Asker, Caller, Grant, Peer, client_ip};
use dialect::origin::{is_host_allowed, is_origin_allowed};
use dialect::peer::PeerInfo;
use dialect::socket::{Outbox, Protocol, READ_BUFFER_BYTES, Received, WRITE_BUFFER_BYTES, serve};
use events::Delivery;
use serde_json::json;
use services::Ending;
use services::presence::ConnectionCount;
use tokio::sync::broadcast;

use crate::Comis;
use crate::errors::{INVALID_REQUEST, LIMITED, PARSE_ERROR, not_found, refusal, rpc_error};
use crate::limits::SlidingWindow;
use crate::rpc::{Outcome, PENDING_MAX, Plan, plan};

/// Larger frames close the connection; those between this and the configured limit are answered.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// How long a refused peer gets to answer the close frame.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

const UNAUTHORIZED: u16 = 4001;
const FORBIDDEN: u16 = 4003;

/// Serves a WebSocket of this dialect on a path that no layer of ours counts. A bad token is told
/// after the upgrade, as Comis's clients expect; callers over their limit and pages of other sites
/// do not get that far.
pub async fn upgrade(comis: Arc<Comis>, ws: WebSocketUpgrade, peer: PeerInfo, query_token: Option<String>) -> Response {
    let gate = comis.gate();
    let caller = gate.authenticate(&peer.headers, query_token.as_deref());
    let ip = client_ip(&peer.headers, peer.remote.ip(), &comis.settings().trusted_proxies);
    let asker = Asker { caller, ip };
    let admission = gate.count(&asker);
    if !admission.is_admitted {
        return http::refusal(admission, false);
    }
    let mut response = upgrade_counted(comis, ws, peer, asker.caller);
    admission.write(response.headers_mut());
    response
}

fn upgrade_counted(comis: Arc<Comis>, ws: WebSocketUpgrade, peer: PeerInfo, caller: Option<Caller>) -> Response {
    let settings = comis.settings();
    if !is_host_allowed(peer.host(), peer.listens_on_loopback, &settings.cors_origins) {
        return refusal(StatusCode::FORBIDDEN, "Forbidden: host not allowed");
    }
    if !is_origin_allowed(peer.origin(), peer.host(), &settings.cors_origins) {
        return refusal(StatusCode::FORBIDDEN, "Forbidden: origin not allowed");
    }
    let frame_max = FRAME_BYTES_MAX.max(settings.ws_max_message_bytes.saturating_mul(3));
    let ws = ws
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(frame_max)
        .max_frame_size(frame_max);
    ws.on_upgrade(move |socket| async move {
        match caller {
            None => refuse(socket, UNAUTHORIZED, "Unauthorized").await,
            Some(caller) if caller.may(Grant::McpClient) => {
                refuse(socket, FORBIDDEN, "mcp-client tokens must use POST /mcp/v1").await;
            }
            Some(caller) => {
                let lifecycle = comis.services().lifecycle.clone();
                let revocations = comis.services().tokens.revocations();
                let served = serve(socket, Connection::new(comis, caller, frame_max), lifecycle.clone(), revocations);
                lifecycle.track(served).await;
            }
        }
    })
}

/// `/ws` of a listener of this dialect; a plain request there is one to an unknown path.
pub(crate) async fn on_path(State(comis): State<Arc<Comis>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let Peer { remote, listens_on_loopback } = Peer::of(&parts.extensions);
    let peer = PeerInfo { remote, headers: parts.headers.clone(), listens_on_loopback };
    let caller = parts.extensions.get::<Asker>().and_then(|asker| asker.caller.clone());
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(ws) => upgrade_counted(comis, ws, peer, caller),
        Err(_) => not_found(),
    }
}

async fn refuse(mut socket: WebSocket, code: u16, reason: &'static str) {
    if socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await.is_err() {
        return;
    }
    let answered = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = tokio::time::timeout(CLOSE_WAIT, answered).await;
}

struct Connection {
    comis: Arc<Comis>,
    caller: Caller,
    messages: SlidingWindow,
    /// Calls that run.
    pending: usize,
    heartbeat: Option<Duration>,
    frame_max: usize,
    _count: ConnectionCount,
}

impl Connection {
    fn new(comis: Arc<Comis>, caller: Caller, frame_max: usize) -> Self {
        let heartbeat_ms = comis.settings().ws_heartbeat_ms;
        Self {
            heartbeat: (heartbeat_ms > 0).then(|| Duration::from_millis(heartbeat_ms)),
            _count: comis.services().presence.count_connection(),
            comis,
            caller,
            messages: SlidingWindow::default(),
            pending: 0,
            frame_max,
        }
    }

    /// What keeps a text from being read at all.
    fn refuse(&mut self, text: &str) -> Option<Vec<u8>> {
        let settings = self.comis.settings();
        let limit = &settings.ws_message_rate_limit;
        let now = self.comis.services().clock.now();
        if !self.messages.admit(now, limit.window_ms, limit.max_messages) {
            return Some(rpc_error(LIMITED, "Message rate limit exceeded", None, "null"));
        }
        let max = settings.ws_max_message_bytes;
        // No text has more UTF-16 units than bytes, so most need not be counted.
        let size = if text.len() > max { text.encode_utf16().count() } else { 0 };
        (size > max).then(|| {
            let words = format!("Message size {size} bytes exceeds maximum of {max}");
            rpc_error(INVALID_REQUEST, &words, None, "null")
        })
    }
}

impl Protocol for Connection {
    type Done = Outcome;

    /// Never reached: what is beyond [`PENDING_MAX`] is answered with an error.
    fn calls_max(&self) -> usize {
        PENDING_MAX + 1
    }

    fn frame_bytes_max(&self) -> usize {
        self.frame_max
    }

    /// The heartbeat is a notification, not a WebSocket ping.
    fn ping(&self) -> Option<(Duration, Duration)> {
        None
    }

    fn tick_interval(&self) -> Option<Duration> {
        self.heartbeat
    }

    fn received(&mut self, text: Utf8Bytes, out: &mut Outbox) -> Received<Outcome> {
        if let Some(refused) = self.refuse(&text) {
            out.text(refused);
            return Received::Done;
        }
        match plan(&self.comis, &self.caller, &text, PENDING_MAX - self.pending) {
            Plan::Answer(frame) => {
                out.text(frame);
                Received::Done
            }
            Plan::Run(running, calls) => {
                self.pending += calls;
                Received::Call(running)
            }
        }
    }

    fn received_binary(&mut self, _: Bytes, out: &mut Outbox) -> Received<Outcome> {
        out.text(rpc_error(PARSE_ERROR, "Binary messages not supported", None, "null"));
        Received::Done
    }

    fn completed(&mut self, done: Outcome, out: &mut Outbox) {
        self.pending -= done.settled;
        if let Some(frame) = done.frame {
            out.text(frame);
        }
        for then in done.then {
            out.then(Some(then));
        }
    }

    fn notices(&self) -> Option<broadcast::Receiver<Utf8Bytes>> {
        Some(self.comis.notices().subscribe())
    }

    fn delivered(&mut self, _: Delivery, _: &mut Outbox) {}

    fn tick(&mut self, out: &mut Outbox) {
        let ts = self.comis.services().clock.now();
        out.text(json!({ "jsonrpc": "2.0", "method": "heartbeat", "params": { "ts": ts } }).to_string());
    }

    fn check_credentials(&mut self, out: &mut Outbox) {
        let token = self.caller.principal.token_id.as_ref();
        if token.is_some_and(|token| !self.comis.services().tokens.is_valid(token)) {
            out.close(UNAUTHORIZED, "Token revoked");
        }
    }

    fn stopping(&mut self, ending: Ending, out: &mut Outbox) {
        match ending {
            Ending::Stop => out.close(1001, "Server shutting down"),
            Ending::Restart => out.close(1012, "Service restart"),
        }
    }
}
