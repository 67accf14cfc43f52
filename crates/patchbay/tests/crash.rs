//! The gateway is killed with SIGKILL two hundred times in the middle of turns; then every accepted
//! message and every terminal event is counted.
//!
//! The upstream answers some calls at once, hangs in the middle of others and asks for tools in
//! between, so that the kill meets runs at every step. Several homes are killed beside each other. The
//! schedule comes from a seed that is printed; `PATCHBAY_SEED` repeats it, and `PATCHBAY_KILLS` says how
//! many kills there are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use futures_util::{SinkExt, StreamExt, stream};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// Over all homes.
const KILLS: usize = 200;
/// Homes beside each other.
const HOMES: usize = 4;
/// Of one home, before its messages are counted.
const KILLS_OF_HOME: usize = 50;
const SESSIONS: usize = 4;
/// Longer than anything here takes; a test that waits this long has found a stuck run.
const PATIENCE: Duration = Duration::from_secs(60);

/// splitmix64, for the schedule.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What the upstream does with a call, read off the last user message: `… mode-N`.
async fn upstream(State(calm): State<Arc<AtomicBool>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).expect("the gateway sends JSON");
    let messages = request["messages"].as_array().expect("with messages");
    let said = messages
        .iter()
        .rev()
        .find(|message| message["role"] == "user")
        .map(|message| message["content"].to_string())
        .unwrap_or_default();
    let after_tool = messages.last().is_some_and(|message| message["role"] == "tool");
    let mode = said.split("mode-").nth(1).and_then(|rest| rest.chars().next()).unwrap_or('0');
    let chunk = |delta: Value, finish: Value| {
        let event = json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
        format!("data: {event}\n\n")
    };
    let hello = chunk(json!({ "role": "assistant", "content": "Half " }), Value::Null);
    let answer = format!(
        "{hello}{}{}data: [DONE]\n\n",
        chunk(json!({ "content": "and whole." }), Value::Null),
        chunk(json!({}), json!("stop"))
    );
    let call = json!({ "tool_calls": [{ "index": 0, "id": "call_1", "type": "function", "function": { "name": "current_time", "arguments": "{}" } }] });
    let tool = format!("{}{}data: [DONE]\n\n", chunk(call, Value::Null), chunk(json!({}), json!("tool_calls")));
    let calm = calm.load(Ordering::SeqCst);
    let (text, hangs) = match mode {
        '1' if !calm => (hello, true),
        '2' if !calm => (String::new(), true),
        '3' if !after_tool => (tool, false),
        '3' if !calm => (hello, true),
        _ => (answer, false),
    };
    let pieces = stream::iter([Ok::<_, Infallible>(Bytes::from(text))]);
    let body = if hangs { Body::from_stream(pieces.chain(stream::pending())) } else { Body::from_stream(pieces) };
    Response::builder().header("content-type", "text/event-stream").body(body).expect("a legal response")
}

struct Gateway {
    child: Child,
    url: String,
}

impl Gateway {
    fn start(home: &Path) -> Gateway {
        let mut child = Command::new(env!("CARGO_BIN_EXE_patchbay"))
            .args(["serve", "--listen", "aleph=127.0.0.1:0", "--home"])
            .arg(home)
            .env("PATCHBAY_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        let read = tokio::task::block_in_place(|| BufReader::new(stdout).read_line(&mut line));
        read.expect("it says that it is ready");
        let ready: Value = serde_json::from_str(line.trim_start_matches("ready "))
            .unwrap_or_else(|_| panic!("not a ready line: {line:?}"));
        Gateway { child, url: ready["aleph"].as_str().expect("it listens").to_owned() }
    }

    /// SIGKILL: nothing of the process gets a chance to tidy up.
    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is gone");
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(gateway: &Gateway, token: &str) -> Socket {
    let (mut socket, _) = tokio_tungstenite::connect_async(&gateway.url).await.expect("it accepts");
    send(&mut socket, 0, "connect", json!({ "token": token })).await.expect("the socket is open");
    let answer = receive(&mut socket).await.expect("it answers");
    assert!(answer["result"].is_object(), "{answer}");
    socket
}

async fn send(socket: &mut Socket, id: u64, method: &str, params: Value) -> Result<(), ()> {
    let text = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
    socket.send(Message::text(text)).await.map_err(|_| ())
}

async fn receive(socket: &mut Socket) -> Option<Value> {
    loop {
        let frame = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a frame in time")?.ok()?;
        if let Message::Text(text) = frame {
            return serde_json::from_str(&text).ok();
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_message_is_lost_or_doubled_and_every_run_ends_once_after_two_hundred_kills() {
    let seed = number("PATCHBAY_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let kills = number("PATCHBAY_KILLS").map_or(KILLS, |kills| usize::try_from(kills).expect("a number of kills"));
    eprintln!("PATCHBAY_SEED={seed} PATCHBAY_KILLS={kills}");
    let mut dice = Dice(seed);
    let homes = (0..HOMES).map(|home| {
        let (mut share, mut dice) = ((kills + home) / HOMES, Dice(dice.roll(u64::MAX)));
        tokio::spawn(async move {
            while share > 0 {
                let part = share.min(KILLS_OF_HOME);
                live_and_die(part, Dice(dice.roll(u64::MAX))).await;
                share -= part;
            }
        })
    });
    // All begin before the first is waited for.
    for home in homes.collect::<Vec<_>>() {
        home.await.expect("a home has no complaint");
    }
}

/// One home, whose gateway is killed again and again and then counted out.
async fn live_and_die(kills: usize, mut dice: Dice) {
    let calm = Arc::new(AtomicBool::new(false));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let app = Router::new().route("/v1/chat/completions", post(upstream)).with_state(Arc::clone(&calm));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path();
    let config = format!(
        "[providers.up]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:{port}/v1\"\nmodels = [\"m\"]\ndiscover = false\n[agents.main]\nmodel = \"up/m\"\n[limits]\nsession_queue = 1000\n"
    );
    std::fs::write(home.join("config.toml"), config).expect("the configuration is written");

    // Text of each message → whether the gateway said that it accepted it, and the run's id.
    let mut sent: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut number = 0_u64;
    for round in 0..kills {
        let gateway = Gateway::start(home);
        let token = std::fs::read_to_string(home.join("admin.token")).expect("the token is there");
        let mut socket = connect(&gateway, token.trim()).await;
        let mut by_id: HashMap<u64, String> = HashMap::new();
        for _ in 0..=dice.roll(6) {
            number += 1;
            let text = format!("message {number} round {round} mode-{}", dice.roll(4));
            let key = format!("agent:main:dm:user{}", dice.roll(SESSIONS as u64));
            by_id.insert(number, text.clone());
            sent.insert(text.clone(), None);
            if send(&mut socket, number, "agent.run", json!({ "message": text, "session_key": key })).await.is_err() {
                break;
            }
        }
        // Kill after some number of frames, so that it falls between any two steps.
        for _ in 0..dice.roll(12) {
            let frame = tokio::select! {
                frame = receive(&mut socket) => frame,
                // Everything hangs upstream by now; there is nothing more to come.
                () = tokio::time::sleep(Duration::from_millis(150)) => None,
            };
            let Some(frame) = frame else { break };
            if let (Some(id), Some(run)) = (frame["id"].as_u64(), frame["result"]["run_id"].as_str())
                && let Some(text) = by_id.get(&id)
            {
                sent.insert(text.clone(), Some(run.to_owned()));
            }
        }
        gateway.kill();
    }

    calm.store(true, Ordering::SeqCst);
    let gateway = Gateway::start(home);
    let token = std::fs::read_to_string(home.join("admin.token")).expect("the token is there");
    let mut socket = connect(&gateway, token.trim()).await;
    let accepted: HashSet<String> = sent.values().flatten().cloned().collect();
    eprintln!("{} messages sent, {} accepted before a kill", sent.len(), accepted.len());
    assert!(accepted.len() > kills / 2, "the schedule hardly accepted anything");
    count_ends(&mut socket, &accepted).await;
    count_messages(&mut socket, &sent).await;
    gateway.kill();
}

/// Reads the whole log from its start: cursors in order, each run that began or was accepted ends exactly once.
async fn count_ends(socket: &mut Socket, accepted: &HashSet<String>) {
    send(socket, 1, "events.subscribe", json!({ "patterns": ["*"], "after": 0 })).await.expect("the socket is open");
    let mut known: HashSet<String> = HashSet::new();
    let mut ends: HashMap<String, usize> = HashMap::new();
    let mut cursor = 0;
    let mut answered = false;
    loop {
        let frame = receive(socket).await.expect("the gateway lives");
        if frame["id"] == 1 {
            answered = true;
            continue;
        }
        let params = &frame["params"];
        if let Some(at) = params["cursor"].as_u64() {
            // Of some events, such as a takeover, this dialect tells nothing.
            assert!(at > cursor, "cursor {at} came after {cursor}");
            cursor = at;
        }
        let run = params["data"]["run_id"].as_str().unwrap_or_default().to_owned();
        match params["topic"].as_str().unwrap_or_default() {
            "agent.accepted" => {
                known.insert(run);
            }
            "agent.completed" | "agent.error" | "agent.cancelled" => *ends.entry(run).or_default() += 1,
            _ => {}
        }
        let all_known = accepted.iter().all(|run| known.contains(run));
        if answered && all_known && known.iter().all(|run| ends.contains_key(run)) {
            break;
        }
    }
    let twice: Vec<_> = ends.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "runs that ended more than once: {twice:?}");
}

/// Each accepted message stands exactly once in its session, any other at most once.
async fn count_messages(socket: &mut Socket, sent: &BTreeMap<String, Option<String>>) {
    let mut found: HashMap<String, usize> = HashMap::new();
    for user in 0..SESSIONS {
        let params = json!({ "session_key": format!("agent:main:dm:user{user}"), "limit": 1000 });
        send(socket, 100 + user as u64, "session.history", params).await.expect("the socket is open");
        let answer = loop {
            let frame = receive(socket).await.expect("the gateway lives");
            if frame["id"] == 100 + user as u64 {
                break frame;
            }
        };
        for message in
            answer["result"]["messages"].as_array().into_iter().flatten().filter(|message| message["role"] == "user")
        {
            *found.entry(message["content"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    for (text, run) in sent {
        let times = found.get(text).copied().unwrap_or(0);
        match run {
            Some(run) => assert_eq!(times, 1, "message {text:?} of run {run}"),
            None => assert!(times <= 1, "message {text:?} is stored {times} times"),
        }
    }
}
