//! A vendor's end of the line: an HTTP/1.1 server on a port of its own that answers what a test
//! wrote down, breaks where the test says, and counts connections.
//!
//! By hand over TCP, because a real HTTP server would not send half a chunk.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::scripted::Gate;

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `Null` when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What a body consists of.
#[derive(Debug, Clone)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// Nothing until the gate opens or the client goes away.
    Wait(Gate),
    /// Nothing until the client goes away.
    Hang,
    /// The connection breaks here.
    Cut,
}

/// One scripted answer.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<Piece>,
    sends_head: bool,
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: vec![Piece::Bytes(body.into())], sends_head: true }
    }

    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "application/json", body)
    }

    /// A stream of server-sent events.
    pub fn sse(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, "text/event-stream; charset=utf-8", body)
    }

    /// The connection stays open and nothing comes, not even a head.
    pub fn silence() -> Self {
        Self { sends_head: false, body: vec![Piece::Hang], ..Self::json(200, "") }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds to the end of the body.
    #[must_use]
    pub fn then(mut self, piece: Piece) -> Self {
        self.body.push(piece);
        self
    }

    /// Sends the body in network pieces of `bytes` bytes, wherever characters and events begin.
    #[must_use]
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        let split = |piece: Piece| match piece {
            Piece::Bytes(all) => all.chunks(bytes.max(1)).map(|part| Piece::Bytes(part.to_vec())).collect(),
            other => vec![other],
        };
        self.body = self.body.into_iter().flat_map(split).collect();
        self
    }
}

/// See the [module](self). Dropping it closes every connection.
pub struct ScriptedServer {
    base_url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    accepted: watch::Sender<usize>,
    open: watch::Sender<usize>,
    aborted: watch::Sender<usize>,
    requests: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Reply>,
    routes: Vec<(String, Reply)>,
    seen: Vec<Seen>,
}

impl ScriptedServer {
    /// Listens on a free port of 127.0.0.1 with an empty script.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { base_url: format!("http://{address}"), shared, task }
    }

    /// The base URL of a port that was free a moment ago, where nobody listens.
    pub async fn nowhere() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        format!("http://{}", listener.local_addr().expect("a bound listener has an address"))
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Adds an answer to the script; requests take them in order. An empty script answers 500.
    pub fn push(&self, reply: Reply) {
        self.shared.state().script.push_back(reply);
    }

    /// Answers every request whose path is `path` with `reply`, aside from the script.
    pub fn route(&self, path: &str, reply: Reply) {
        let mut state = self.shared.state();
        state.routes.retain(|(known, _)| known != path);
        state.routes.push((path.to_owned(), reply));
    }

    /// Every request so far, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// The newest request.
    pub fn last_request(&self) -> Option<Seen> {
        self.shared.state().seen.last().cloned()
    }

    /// Connections that ever came.
    pub fn accepted_connections(&self) -> usize {
        *self.shared.accepted.borrow()
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        *self.shared.open.borrow()
    }

    /// Answers that the client did not wait for: it closed the connection in the middle.
    pub fn aborted_requests(&self) -> usize {
        *self.shared.aborted.borrow()
    }

    /// Returns once at least `count` requests have come.
    pub async fn wait_for_requests(&self, count: usize) {
        let _ = self.shared.requests.subscribe().wait_for(|seen| *seen >= count).await;
    }

    /// Returns once the client has left at least `count` answers in the middle.
    pub async fn wait_for_aborted(&self, count: usize) {
        let _ = self.shared.aborted.subscribe().wait_for(|aborted| *aborted >= count).await;
    }

    /// Returns once no connection is open.
    pub async fn wait_for_no_connection(&self) {
        let _ = self.shared.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply_to(&self, seen: Seen) -> Reply {
        let mut state = self.state();
        let path = seen.target.split('?').next().unwrap_or_default().to_owned();
        state.seen.push(seen);
        let routed = state.routes.iter().find(|(known, _)| *known == path).map(|(_, reply)| reply.clone());
        let reply = routed.or_else(|| state.script.pop_front());
        drop(state);
        self.requests.send_modify(|count| *count += 1);
        reply.unwrap_or_else(|| Reply::json(500, r#"{"error":{"message":"the script of the test is empty"}}"#))
    }
}

/// Counts a connection in and out.
struct OpenConnection(Arc<Shared>);

impl OpenConnection {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.accepted.send_modify(|count| *count += 1);
        shared.open.send_modify(|count| *count += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.send_modify(|count| *count -= 1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Owned by this task: aborting it closes the connections.
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let connection = OpenConnection::new(&shared);
        connections.spawn(async move {
            // How the client leaves is counted inside; the error itself says nothing more.
            let _ = serve(socket, &connection.0).await;
        });
    }
}

async fn serve(socket: TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (mut reader, mut writer) = socket.into_split();
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut reader, &mut buffer).await? {
        let reply = shared.reply_to(seen);
        match answer(reply, &mut reader, &mut writer).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                shared.aborted.send_modify(|count| *count += 1);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Sends the reply. `false` when it ends with a broken connection; an error when the client left.
async fn answer(reply: Reply, reader: &mut OwnedReadHalf, writer: &mut OwnedWriteHalf) -> io::Result<bool> {
    if reply.sends_head {
        let mut head = format!("HTTP/1.1 {} scripted\r\ntransfer-encoding: chunked\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        writer.write_all(head.as_bytes()).await?;
    }
    for piece in reply.body {
        match piece {
            Piece::Bytes(bytes) if bytes.is_empty() => {}
            Piece::Bytes(bytes) => {
                let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                chunk.extend_from_slice(&bytes);
                chunk.extend_from_slice(b"\r\n");
                writer.write_all(&chunk).await?;
                // Lets the client read this piece alone.
                tokio::task::yield_now().await;
            }
            Piece::Wait(gate) => tokio::select! {
                () = gate.pass() => {}
                error = client_left(reader) => return Err(error),
            },
            Piece::Hang => return Err(client_left(reader).await),
            Piece::Cut => {
                writer.shutdown().await?;
                return Ok(false);
            }
        }
    }
    writer.write_all(b"0\r\n\r\n").await?;
    Ok(true)
}

async fn client_left(reader: &mut OwnedReadHalf) -> io::Error {
    let mut scratch = [0_u8; 64];
    loop {
        match reader.read(&mut scratch).await {
            Ok(0) => return io::ErrorKind::ConnectionAborted.into(),
            // A client that talks into our answer is still there.
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

/// The next request, or `None` when the client is done. `buffer` keeps what was read too far.
async fn read_request(reader: &mut OwnedReadHalf, buffer: &mut Vec<u8>) -> io::Result<Option<Seen>> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if reader.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    buffer.drain(..head_end + 4);
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let length: usize = length.unwrap_or(0);
    while buffer.len() < length {
        if reader.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let body = buffer.drain(..length).collect();
    let method = request_line.next().unwrap_or_default();
    Ok(Some(Seen { method, target: request_line.next().unwrap_or_default(), headers, body }))
}
