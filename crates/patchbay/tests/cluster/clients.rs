//! Clients that go from node to node: some speak until they are heard, some follow the log.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::rig::{PATIENCE, TOKEN};

/// A client that expects anything tries another node when it has waited so long for one answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(4);
/// Between two attempts of a client whom no node hears.
const PAUSE: Duration = Duration::from_millis(50);
/// "Try again": busy, or out of reach for the moment.
pub const TRY_AGAIN: i64 = -32003;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What came of a call.
#[derive(Debug)]
pub enum Answer {
    Result(Value),
    #[allow(dead_code, reason = "the message is shown when a test fails")]
    Error(i64, String),
    /// Told to connect anew (1012), or the node cannot be connected to: the call was not begun.
    Moved,
    /// Cut off without a word, or kept waiting: nobody knows whether the call was begun.
    #[allow(dead_code, reason = "shown when a test fails")]
    Lost(String),
}

/// A connection to one node at a time.
pub struct Client {
    ports: Vec<u16>,
    at: usize,
    socket: Option<Socket>,
    number: u64,
    patience: Duration,
}

impl Client {
    /// `ports` of the wires to the nodes; begins with the one at `at`.
    pub fn new(ports: Vec<u16>, at: usize, weather: Weather) -> Client {
        let patience = if weather == Weather::Foul { ANSWER_PATIENCE } else { PATIENCE };
        Client { at: at % ports.len(), ports, socket: None, number: 0, patience }
    }

    /// To the next node, with the next call.
    pub fn go_on(&mut self) {
        self.socket = None;
        self.at = (self.at + 1) % self.ports.len();
    }

    async fn connect(&mut self) -> Result<(), Answer> {
        let url = format!("ws://127.0.0.1:{}", self.ports[self.at]);
        let connected = tokio::time::timeout(self.patience, tokio_tungstenite::connect_async(url)).await;
        let Ok(Ok((socket, _))) = connected else { return Err(Answer::Moved) };
        self.socket = Some(socket);
        match self.exchange("connect", &json!({ "token": TOKEN })).await {
            Answer::Result(_) => Ok(()),
            // Whoever was not let in has asked for nothing yet.
            Answer::Lost(_) | Answer::Moved => Err(Answer::Moved),
            refused @ Answer::Error(..) => Err(refused),
        }
    }

    /// One call at one node; after anything but a result or an error it is no longer connected.
    pub async fn call(&mut self, method: &str, params: Value) -> Answer {
        if self.socket.is_none()
            && let Err(answer) = self.connect().await
        {
            self.socket = None;
            return answer;
        }
        let answer = self.exchange(method, &params).await;
        if matches!(answer, Answer::Moved | Answer::Lost(_)) {
            self.socket = None;
        }
        answer
    }

    async fn exchange(&mut self, method: &str, params: &Value) -> Answer {
        self.number += 1;
        let number = self.number;
        let socket = self.socket.as_mut().expect("it is connected");
        let call = json!({ "jsonrpc": "2.0", "id": number, "method": method, "params": params }).to_string();
        // One that is being closed may refuse it; the close frame is still to be read.
        let _ = socket.send(Message::text(call)).await;
        let answered = tokio::time::timeout(self.patience, async {
            loop {
                match next(socket).await {
                    Ok(frame) if frame["id"] == number => return Ok(frame),
                    Ok(_) => {}
                    Err(answer) => return Err(answer),
                }
            }
        });
        match answered.await {
            Ok(Ok(frame)) if frame["error"].is_null() => Answer::Result(frame["result"].clone()),
            Ok(Ok(frame)) => {
                let error = &frame["error"];
                Answer::Error(error["code"].as_i64().unwrap_or(0), error["message"].to_string())
            }
            Ok(Err(answer)) => answer,
            Err(_) => Answer::Lost(String::from("no answer in time")),
        }
    }
}

/// The next frame with text.
async fn next(socket: &mut Socket) -> Result<Value, Answer> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("frames are JSON")),
            Some(Ok(Message::Close(Some(close)))) if close.code == CloseCode::Restart => {
                let _ = socket.close(None).await;
                return Err(Answer::Moved);
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => return Err(Answer::Lost(format!("{other:?}"))),
        }
    }
}

/// What a speaker may meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Nodes make way in order: a call is answered, or was not begun.
    Fair,
    /// Anything.
    Foul,
}

/// A message that a node has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub run: String,
}

/// Says it until a node has accepted it. The same id each time, so that it is taken in once.
pub async fn say(client: &mut Client, session: &str, text: &str, weather: Weather) -> Said {
    let run = format!("run of {text}");
    let params = json!({ "message": text, "session_key": session, "idempotency_key": run });
    loop {
        match client.call("agent.run", params.clone()).await {
            Answer::Result(answer) => {
                assert_eq!(answer["run_id"], run.as_str(), "the answer to {text:?}");
                return Said { text: text.to_owned(), run };
            }
            Answer::Moved => client.go_on(),
            Answer::Error(TRY_AGAIN, _) | Answer::Lost(_) if weather == Weather::Foul => client.go_on(),
            refused => panic!("{text:?} is refused: {refused:?}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Follows the log from its beginning, from node to node by cursor, up to `goal` (0 while it is not
/// known). Gives the cursors that it saw.
pub async fn watch(mut client: Client, mut goal: tokio::sync::watch::Receiver<u64>) -> Vec<u64> {
    let mut seen: Vec<u64> = Vec::new();
    loop {
        let after = seen.last().copied().unwrap_or(0);
        let is_over = *goal.borrow_and_update() > 0 && after >= *goal.borrow();
        if is_over {
            return seen;
        }
        let subscribed = client.call("events.subscribe", json!({ "patterns": ["*"], "after": after })).await;
        let is_subscribed = match subscribed {
            Answer::Result(_) => true,
            Answer::Error(TRY_AGAIN, _) | Answer::Moved | Answer::Lost(_) => false,
            refused @ Answer::Error(..) => panic!("the log cannot be followed after {after}: {refused:?}"),
        };
        if is_subscribed && follow(&mut client, &mut seen, &mut goal).await {
            return seen;
        }
        client.go_on();
        tokio::time::sleep(PAUSE).await;
    }
}

/// `true` at the goal, `false` when the node is gone.
async fn follow(client: &mut Client, seen: &mut Vec<u64>, goal: &mut tokio::sync::watch::Receiver<u64>) -> bool {
    let socket = client.socket.as_mut().expect("it is connected");
    loop {
        let newest = seen.last().copied().unwrap_or(0);
        let known = *goal.borrow_and_update();
        if known > 0 && newest >= known {
            return true;
        }
        let frame = tokio::select! {
            frame = next(socket) => frame,
            _ = goal.changed() => continue,
        };
        let Ok(frame) = frame else { return false };
        if let Some(cursor) = frame["params"]["cursor"].as_u64() {
            assert!(cursor > newest, "cursor {cursor} comes behind {newest}");
            seen.push(cursor);
        }
    }
}
