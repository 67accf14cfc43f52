//! Clients as users have them: HTTP, server-sent events, WebSocket.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{Gateway, in_time, secret};

/// A client with a token, or without.
pub struct Http<'a> {
    gateway: &'a Gateway,
    client: Client,
    token: Option<String>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and body together, to compare whole answers.
    pub fn told(&self) -> (u16, Value) {
        (self.status, self.json())
    }
}

impl<'a> Http<'a> {
    pub fn with(gateway: &'a Gateway, token: &str) -> Self {
        Self { gateway, client: Client::new(), token: Some(secret(token)) }
    }

    pub fn anonymous(gateway: &'a Gateway) -> Self {
        Self { gateway, client: Client::new(), token: None }
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), self.gateway.url(path));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: RequestBuilder) -> Reply {
        in_time("an answer", async {
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Reply { status, headers, text: response.text().await.unwrap() }
        })
        .await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path)).await
    }

    pub async fn call(&self, method: &str, path: &str) -> Reply {
        self.send(self.request(method, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request("POST", path).json(body)).await
    }

    pub async fn post_text(&self, path: &str, content_type: &str, body: impl Into<String>) -> Reply {
        self.send(self.request("POST", path).header("content-type", content_type).body(body.into())).await
    }

    pub async fn stream(&self, request: RequestBuilder) -> Stream {
        let response = in_time("a stream", request.send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Stream { response, buffer: String::new(), frames: VecDeque::new() }
    }

    /// Follows the events, from after an id.
    pub async fn events(&self, last: Option<&str>) -> Stream {
        let mut request = self.request("GET", "/api/events");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        self.stream(request).await
    }
}

/// A frame of a stream: its name, its data and its id, all as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub event: String,
    pub data: String,
    pub id: String,
}

impl Frame {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn id(&self) -> u64 {
        self.id.parse().unwrap()
    }
}

/// Frames of a text; comments are left out, and any other layout fails.
fn frames(text: &str) -> Vec<Frame> {
    text.split_terminator("\n\n").filter(|block| !block.starts_with(':')).map(frame).collect()
}

fn frame(block: &str) -> Frame {
    let lines: Vec<&str> = block.lines().collect();
    let field = |at: usize, name: &str| {
        let value =
            lines.get(at).and_then(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("layout: {block:?}"));
        value.to_owned()
    };
    let frame = Frame { event: field(0, "event: "), data: field(1, "data: "), id: field(2, "id: ") };
    match lines.get(3) {
        None => {}
        Some(retry) => assert_eq!((frame.event.as_str(), *retry, lines.len()), ("retry", "retry: 3000", 4)),
    }
    frame
}

pub struct Stream {
    pub response: Response,
    buffer: String,
    frames: VecDeque<Frame>,
}

impl Stream {
    /// The next frame; `None` when the server ended the stream.
    pub async fn next(&mut self) -> Option<Frame> {
        in_time("a frame", async {
            loop {
                if let Some(frame) = self.frames.pop_front() {
                    return Some(frame);
                }
                let chunk = self.response.chunk().await.unwrap()?;
                self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
                if let Some(end) = self.buffer.rfind("\n\n") {
                    let whole: String = self.buffer.drain(..end + 2).collect();
                    self.frames.extend(frames(&whole));
                }
            }
        })
        .await
    }

    /// The next frame of that name; the others are passed over, but not for long.
    pub async fn next_named(&mut self, name: &str) -> Frame {
        let mut pings = 0;
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("the stream ended before a `{name}`"));
            if frame.event == name {
                return frame;
            }
            pings += u32::from(frame.event == "ping");
            assert!(pings < 3, "nothing but pings came while a `{name}` was expected");
        }
    }

    /// Everything until the server ends the stream.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}

pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub async fn open(gateway: &Gateway, token: &str) -> Self {
        Self::connect(gateway, Some(&secret(token)), "").await.unwrap()
    }

    /// `query` as it stands behind the path.
    pub async fn connect(gateway: &Gateway, bearer: Option<&str>, query: &str) -> Result<Self, u16> {
        Self::connect_to(gateway, &format!("/ws{query}"), bearer).await
    }

    pub async fn connect_to(gateway: &Gateway, path: &str, bearer: Option<&str>) -> Result<Self, u16> {
        let mut request = format!("ws://{}{path}", gateway.address).into_client_request().unwrap();
        if let Some(bearer) = bearer {
            request.headers_mut().insert("authorization", format!("Bearer {bearer}").parse().unwrap());
        }
        Self::with_request(request).await
    }

    pub async fn with_request(request: tokio_tungstenite::tungstenite::http::Request<()>) -> Result<Self, u16> {
        match in_time("an upgrade", tokio_tungstenite::connect_async(request)).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn send(&mut self, text: impl Into<String>) {
        self.try_send(text).await.unwrap();
    }

    pub async fn try_send(&mut self, text: impl Into<String>) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        self.0.send(Message::text(text.into())).await
    }

    pub async fn send_binary(&mut self, data: Vec<u8>) {
        self.0.send(Message::binary(data)).await.unwrap();
    }

    /// The next text; heartbeats are passed over.
    pub async fn next(&mut self) -> Value {
        loop {
            let value: Value = serde_json::from_str(&self.next_raw().await).unwrap();
            if value["method"] != "heartbeat" {
                return value;
            }
        }
    }

    pub async fn next_raw(&mut self) -> String {
        in_time("a message", async {
            loop {
                match self.0.next().await.expect("the connection lives").unwrap() {
                    Message::Text(text) => return text.to_string(),
                    Message::Ping(_) | Message::Pong(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        })
        .await
    }

    /// How the server closes.
    pub async fn closed(&mut self) -> (u16, String) {
        in_time("a close", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                    Some(Ok(Message::Close(None))) => return (1005, String::new()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => panic!("{error}"),
                    None => return (1006, String::new()),
                }
            }
        })
        .await
    }

    /// Calls a method and gives the whole answer.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.send(serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string())
            .await;
        self.next().await
    }
}
