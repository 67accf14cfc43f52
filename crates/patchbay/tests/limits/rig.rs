//! The gateway, a client of it, and what the system says of its process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(20);

pub struct Gateway {
    home: TempDir,
    child: Child,
    pub port: u16,
    pub token: String,
}

impl Gateway {
    /// Its model says `answer` to everything. Messages stay: a summary in their place could not be counted.
    pub async fn start(answer: String) -> Gateway {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let upstream = listener.local_addr().expect("a bound listener has an address").port();
        let app = Router::new().route("/v1/chat/completions", post(complete)).with_state(Bytes::from(answer));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let home = tempfile::tempdir().expect("a temporary folder");
        let config = format!(
            "[providers.up]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:{upstream}/v1\"\nmodels = [\"m\"]\ndiscover = false\n[agents.main]\nmodel = \"up/m\"\n[limits]\nsession_queue = 1000\n[sessions.compaction]\nenabled = false\n"
        );
        std::fs::write(home.path().join("config.toml"), config).expect("the configuration is written");
        // A file that may not grow is an error to the program, as on a full disk, and not its end.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" serve --listen aleph=127.0.0.1:0 --home \"$1\""])
            .arg(env!("CARGO_BIN_EXE_patchbay"))
            .arg(home.path())
            // Its log says all that is wrong with the disk, over and over.
            .env("PATCHBAY_LOG", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        tokio::task::block_in_place(|| BufReader::new(stdout).read_line(&mut line)).expect("it says that it is ready");
        let ready: Value = serde_json::from_str(line.trim_start_matches("ready "))
            .unwrap_or_else(|_| panic!("not a ready line: {line:?}"));
        let port = ready["aleph"].as_str().and_then(|url| url.rsplit(':').next()?.parse().ok()).expect("it listens");
        let token = std::fs::read_to_string(home.path().join("admin.token")).expect("the token is there");
        Gateway { home, child, port, token: token.trim().to_owned() }
    }

    /// Files cannot grow beyond so many bytes; without a number they can again.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let soft = bytes.map_or_else(|| String::from("unlimited"), |bytes| bytes.to_string());
        let set = Command::new("prlimit")
            .args([format!("--pid={}", self.child.id()), format!("--fsize={soft}:unlimited")])
            .status();
        assert!(set.expect("prlimit is there (Debian's package util-linux)").success());
    }

    /// The longest of the files of its database.
    pub fn database_bytes(&self) -> u64 {
        let files = ["patchbay.db", "patchbay.db-wal"].map(|name| std::fs::metadata(self.home.path().join(name)));
        files.into_iter().flatten().map(|file| file.len()).max().expect("there is a database")
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it lives").count()
    }

    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it lives").count()
    }

    /// Memory that is in use now, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// A gauge of `/metrics`.
    pub async fn gauge(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("it accepts");
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("it answers");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value: f64 = line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"));
        format!("{value:.0}").parse().expect("a count")
    }

    /// Looks again and again.
    pub async fn wait_until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !is_so().await {
            assert!(began.elapsed() < PATIENCE, "{what}: it does not come");
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes the request whole before it answers: a server that does not resets the connection.
async fn complete(State(answer): State<Bytes>, _request: Bytes) -> Response {
    let text = String::from_utf8_lossy(&answer);
    let chunk = |delta: Value, finish: Value| {
        let event = json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
        format!("data: {event}\n\n")
    };
    let body = chunk(json!({ "role": "assistant", "content": text }), Value::Null);
    let end = chunk(json!({}), json!("stop"));
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(format!("{body}{end}data: [DONE]\n\n").into()).expect("a legal response")
}

/// A client on a WebSocket.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    number: u64,
}

impl Client {
    pub async fn connect(gateway: &Gateway) -> Client {
        let url = format!("ws://127.0.0.1:{}", gateway.port);
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("it accepts");
        let mut client = Client { socket, number: 0 };
        client.call("connect", json!({ "token": gateway.token })).await.expect("the token is good");
        client
    }

    /// The result, or the code and message of the error.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, (i64, String)> {
        self.number += 1;
        let call = json!({ "jsonrpc": "2.0", "id": self.number, "method": method, "params": params }).to_string();
        self.socket.send(Message::text(call)).await.expect("the socket is open");
        loop {
            let frame = self.frame().await;
            if frame["id"] != self.number {
                continue;
            }
            let error = &frame["error"];
            return match error["code"].as_i64() {
                None => Ok(frame["result"].clone()),
                Some(code) => Err((code, error["message"].to_string())),
            };
        }
    }

    /// Reads, and so answers pings, as long as `other` takes.
    pub async fn listen_during(&mut self, other: impl Future<Output = ()>) {
        tokio::pin!(other);
        loop {
            tokio::select! {
                () = &mut other => return,
                frame = self.socket.next() => drop(frame.expect("the socket is open").expect("the socket is open")),
            }
        }
    }

    pub async fn frame(&mut self) -> Value {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a frame in time");
            if let Message::Text(text) = frame.expect("the socket is open").expect("the socket is open") {
                return serde_json::from_str(&text).expect("frames are JSON");
            }
        }
    }
}
