//! One connection to a gateway, one call at a time.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// How long anything may take before it counts as lost.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Socket {
    socket: WebSocket<TcpStream>,
    calls: u64,
}

impl Socket {
    #[track_caller]
    pub fn connect(url: &str, token: &str) -> Socket {
        let address = url.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = client(url, stream).unwrap();
        let mut socket = Socket { socket, calls: 0 };
        socket.call("connect", json!({ "token": token }));
        socket
    }

    /// The result of a call that must succeed.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.calls, "method": method, "params": params });
        self.socket.send(Message::text(request.to_string())).unwrap();
        loop {
            let frame = self.frame();
            if frame["id"] == json!(self.calls) {
                assert!(frame.get("error").is_none(), "{method}: {frame}");
                return frame["result"].clone();
            }
        }
    }

    /// What comes next, an answer or an event.
    #[track_caller]
    pub fn frame(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// All durable events up to a cursor, from the first on; the connection follows events from then on.
    pub fn log(&mut self, last: u64) -> Vec<Value> {
        self.calls += 1;
        let params = json!({ "patterns": ["*"], "after": 0 });
        let request = json!({ "jsonrpc": "2.0", "id": self.calls, "method": "events.subscribe", "params": params });
        self.socket.send(Message::text(request.to_string())).unwrap();
        let mut log = Vec::new();
        loop {
            let frame = self.frame();
            assert!(frame.get("error").is_none(), "{frame}");
            match frame["params"]["cursor"].as_u64() {
                Some(cursor) if cursor > last => return log,
                Some(cursor) => {
                    log.push(frame["params"].clone());
                    if cursor == last {
                        return log;
                    }
                }
                None => {}
            }
        }
    }
}
