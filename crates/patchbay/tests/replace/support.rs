//! Temporary homes, processes that serve, and a model server that answers at once.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Home(TempDir);

impl Home {
    /// Its configured listener is where nobody listens, so that a gateway of someone else's is never found.
    pub fn new() -> Home {
        Home::with("")
    }

    pub fn with(config: &str) -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        let nowhere = "[[listen]]\ndialect = \"aleph\"\naddress = \"127.0.0.1:1\"\n";
        std::fs::write(home.path().join("config.toml"), format!("{nowhere}{config}")).unwrap();
        home
    }

    /// With one model that answers every message at once.
    pub async fn with_model() -> Home {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Router::new().route("/v1/chat/completions", post(complete));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Home::with(&format!(
            "[providers.up]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:{port}/v1\"\nmodels = [\"m\"]\ndiscover = false\n[agents.main]\nmodel = \"up/m\"\n[limits]\nsession_queue = 1000\n"
        ))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("handover.sock")
    }

    pub fn token(&self) -> String {
        std::fs::read_to_string(self.path().join("admin.token")).unwrap().trim().to_owned()
    }

    /// Of the process that says that it serves the home.
    pub fn pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.path().join("gateway.json")).unwrap();
        let running: Value = serde_json::from_str(&text).unwrap();
        u32::try_from(running["pid"].as_u64().unwrap()).unwrap()
    }

    /// The program on this home, with nothing of the surrounding environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay"));
        self.prepare(&mut command);
        command.arg("serve").args(arguments);
        command
    }

    /// Gives a command this home's environment and pipes.
    pub fn prepare(&self, command: &mut Command) {
        command.env_clear().env("PATCHBAY_HOME", self.path()).env("HOME", self.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// A gateway on free ports, once it says that it is ready.
    pub fn serve(&self) -> Server {
        Server::start(self.command(&["--listen", "aleph=127.0.0.1:0", "--listen", "comis=127.0.0.1:0"]))
    }

    /// One that is to take its place.
    pub fn replace(&self) -> Server {
        Server::start(self.command(&["--replace"]))
    }

    /// A start that must fail; gives what it says.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), out.as_ref()), (Some(1), ""), "{err}");
        err.into_owned()
    }
}

/// What the upstream says to everything.
async fn complete(_: Bytes) -> Response {
    let chunk = |delta: Value, finish: Value| {
        let event = json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
        format!("data: {event}\n\n")
    };
    let answer = chunk(json!({ "role": "assistant", "content": "Done." }), Value::Null);
    let end = chunk(json!({}), json!("stop"));
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(format!("{answer}{end}data: [DONE]\n\n").into()).unwrap()
}

/// A process that serves; it ends with the test at the latest.
pub struct Server {
    pub child: Child,
    pub ready: Value,
    out: BufReader<ChildStdout>,
}

impl Server {
    pub fn start(mut command: Command) -> Server {
        // The log of a gateway that nobody reads must not fill its pipe.
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let ready = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not a ready line: {line:?}"));
        Server { child, ready: serde_json::from_str(ready).unwrap(), out }
    }

    /// `host:port` of the listener of a dialect.
    pub fn address(&self, dialect: &str) -> String {
        self.ready[dialect].as_str().unwrap().split_once("://").unwrap().1.to_owned()
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for an end in order, and that nothing more was said on stdout.
    pub fn ended(mut self) {
        wait_for("the end of the process", || self.child.try_wait().unwrap().is_some());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!((self.child.wait().unwrap().code(), rest.as_str()), (Some(0), ""));
    }

    pub fn stop(self) {
        self.signal("TERM");
        self.ended();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Looks again and again, for as long as it may take at most.
#[track_caller]
pub fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_there() {
        assert!(started.elapsed() < PATIENCE, "{what} does not come");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
