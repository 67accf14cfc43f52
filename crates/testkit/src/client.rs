//! The other end of a WebSocket.

use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::soon;

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    Text(String),
    Binary(Vec<u8>),
    /// The gateway closed with this code; `None` when its close frame had none.
    Closed(Option<u16>),
    /// The connection is gone without a close frame.
    Gone,
}

/// A client that waits at most ten seconds for anything.
pub struct WsClient {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pings: u8,
}

impl WsClient {
    /// # Panics
    /// When the upgrade is refused.
    pub async fn open(url: &str) -> Self {
        match Self::try_open(url, &[]).await {
            Ok(client) => client,
            Err(status) => panic!("the upgrade to {url} was refused with {status}"),
        }
    }

    /// With further headers, which replace those of the same name. `Err` is the status of a refusal.
    ///
    /// # Panics
    /// When nothing answers at all.
    pub async fn try_open(url: &str, headers: &[(&str, &str)]) -> Result<Self, StatusCode> {
        match Self::dial(url, headers).await {
            Ok(client) => Ok(client),
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("{url} does not answer: {error}"),
        }
    }

    /// `None` when the connection is lost before the upgrade is done.
    pub async fn attempt(url: &str) -> Option<Self> {
        Self::dial(url, &[]).await.ok()
    }

    async fn dial(url: &str, headers: &[(&str, &str)]) -> Result<Self, Error> {
        let mut request = url.into_client_request().expect("tests give whole addresses");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("tests give legal header names");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("tests give legal header values"));
        }
        let (socket, _) = soon("an upgrade", tokio_tungstenite::connect_async(request)).await?;
        Ok(Self { socket, pings: 0 })
    }

    /// A connection that is gone is not an error here: the next [`WsClient::recv`] tells.
    pub async fn send(&mut self, text: impl Into<String>) {
        let _ = soon("a send", self.socket.send(Message::text(text.into()))).await;
    }

    pub async fn send_json(&mut self, value: &Value) {
        self.send(value.to_string()).await;
    }

    pub async fn send_binary(&mut self, data: impl Into<Vec<u8>>) {
        let _ = soon("a send", self.socket.send(Message::binary(data.into()))).await;
    }

    /// The next frame that means something.
    pub async fn recv(&mut self) -> Incoming {
        soon("a frame", self.next()).await
    }

    async fn next(&mut self) -> Incoming {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Incoming::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(data))) => return Incoming::Binary(data.to_vec()),
                Some(Ok(Message::Close(frame))) => return Incoming::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(_)) | None => return Incoming::Gone,
            }
        }
    }

    /// # Panics
    /// When anything but a text frame comes.
    pub async fn text(&mut self) -> String {
        match self.recv().await {
            Incoming::Text(text) => text,
            other => panic!("a text frame was expected, got {other:?}"),
        }
    }

    /// # Panics
    /// When anything but a text frame of JSON comes.
    pub async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }

    /// Reads on until a frame satisfies `is_it`; gives that frame and those before it.
    pub async fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> (Value, Vec<Value>) {
        let mut before = Vec::new();
        loop {
            let frame = self.json().await;
            if is_it(&frame) {
                return (frame, before);
            }
            before.push(frame);
        }
    }

    /// Sends and gives the next frame.
    pub async fn ask(&mut self, value: &Value) -> Value {
        self.send_json(value).await;
        self.json().await
    }

    /// The code that the gateway closes with; frames before it are passed over.
    ///
    /// # Panics
    /// When the connection goes without a close frame.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.recv().await {
                Incoming::Text(_) | Incoming::Binary(_) => {}
                Incoming::Closed(code) => return code.expect("the gateway closes with a code"),
                Incoming::Gone => panic!("the connection is gone without a close frame"),
            }
        }
    }

    /// What the gateway has sent by the time it answers a few pings: empty when it had nothing to say.
    pub async fn unread(&mut self) -> Vec<Incoming> {
        let mut unread = Vec::new();
        // An event that is due may be written after the first pong; not after the third.
        for _ in 0..3 {
            self.pings = self.pings.wrapping_add(1);
            let mark = Bytes::from(vec![self.pings]);
            if self.socket.send(Message::Ping(mark.clone())).await.is_err() {
                return unread;
            }
            loop {
                let frame = soon("a pong", self.socket.next()).await;
                match frame {
                    Some(Ok(Message::Pong(data))) if data == mark => break,
                    Some(Ok(Message::Text(text))) => unread.push(Incoming::Text(text.as_str().to_owned())),
                    Some(Ok(Message::Binary(data))) => unread.push(Incoming::Binary(data.to_vec())),
                    Some(Ok(Message::Close(frame))) => {
                        unread.push(Incoming::Closed(frame.map(|frame| frame.code.into())));
                        return unread;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return unread,
                }
            }
        }
        unread
    }

    /// Goes away without a word.
    pub fn cut(self) {
        drop(self);
    }

    /// Says goodbye and waits for the gateway's.
    ///
    /// # Panics
    /// When the gateway goes without a close frame.
    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
        loop {
            match self.recv().await {
                Incoming::Text(_) | Incoming::Binary(_) => {}
                Incoming::Closed(_) => return,
                Incoming::Gone => panic!("the gateway went without answering the close frame"),
            }
        }
    }
}
