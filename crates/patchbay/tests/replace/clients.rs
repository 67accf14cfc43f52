//! Clients that call without a pause and take nothing but an answer.

use std::collections::BTreeMap;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::support::PATIENCE;

/// An HTTP connection that is used for as long as the server lets it.
pub struct Http {
    address: String,
    stream: Option<TcpStream>,
}

impl Http {
    pub fn new(address: &str) -> Http {
        Http { address: address.to_owned(), stream: None }
    }

    /// The answer: status, head and body. A connection that ends before it has answered is a failure.
    pub async fn get(&mut self, path: &str) -> (u16, String) {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(&self.address).await.expect("the connection is not refused"),
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.expect("the request can be sent");
        let mut text = String::new();
        let mut chunk = [0; 4096];
        loop {
            let count = tokio::time::timeout(PATIENCE, stream.read(&mut chunk)).await.expect("an answer in time");
            let count = count.expect("the connection holds");
            assert!(count > 0, "the connection ended without an answer, after {text:?}");
            text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
            if is_whole(&text) {
                break;
            }
        }
        if !text.to_ascii_lowercase().contains("\r\nconnection: close") {
            self.stream = Some(stream);
        }
        (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
    }
}

impl Http {
    /// Whether the server has closed the open connection, in order and without a word.
    pub async fn is_closed(&mut self) -> bool {
        let stream = self.stream.as_mut().expect("the last answer left it open");
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 16])).await.expect("an end in time");
        read.expect("it is no reset") == 0
    }
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.to_ascii_lowercase();
    let length = length.split("content-length: ").nth(1).expect("every answer here has a length");
    body.len() >= length.split("\r\n").next().unwrap().parse::<usize>().unwrap()
}

/// A WebSocket client that connects again when it is told to, and sends again what was not answered by then.
pub struct Caller {
    address: String,
    token: String,
    socket: Option<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    number: u64,
    /// How often it was told to connect again.
    pub moves: usize,
}

impl Caller {
    pub fn new(address: &str, token: &str) -> Caller {
        Caller { address: address.to_owned(), token: token.to_owned(), socket: None, number: 0, moves: 0 }
    }

    /// The answer to a call.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        loop {
            if self.socket.is_none() {
                let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{}", self.address))
                    .await
                    .expect("the connection is not refused");
                self.socket = Some(socket);
                if self.once("connect", &json!({ "token": self.token })).await.is_none() {
                    continue;
                }
            }
            if let Some(answer) = self.once(method, &params).await {
                return answer;
            }
        }
    }

    /// `None` when the server closed with 1012 before it began the call.
    async fn once(&mut self, method: &str, params: &Value) -> Option<Value> {
        self.number += 1;
        let number = self.number;
        let socket = self.socket.as_mut().unwrap();
        let call = json!({ "jsonrpc": "2.0", "id": number, "method": method, "params": params }).to_string();
        // One that is being closed may refuse it; the close frame is still to be read.
        let _ = socket.send(Message::text(call)).await;
        loop {
            let frame = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a frame in time");
            match frame {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["id"] == number {
                        assert!(frame["error"].is_null(), "{method}: {frame}");
                        return Some(frame["result"].clone());
                    }
                }
                Some(Ok(Message::Close(Some(close)))) if close.code == CloseCode::Restart => {
                    self.moves += 1;
                    let _ = socket.close(None).await;
                    self.socket = None;
                    return None;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{method}: the connection ended with {other:?}"),
            }
        }
    }

    /// How often each user message stands in a session, and how many answers there are.
    pub async fn transcript(&mut self, session: &str) -> (BTreeMap<String, usize>, usize) {
        let history = self.call("session.history", json!({ "session_key": session, "limit": 1000 })).await;
        let (mut said, mut answers) = (BTreeMap::new(), 0);
        for message in history["messages"].as_array().unwrap() {
            match message["role"].as_str().unwrap() {
                "user" => *said.entry(message["content"].as_str().unwrap().to_owned()).or_default() += 1,
                "assistant" => answers += 1,
                other => panic!("{other} in {message}"),
            }
        }
        (said, answers)
    }
}
