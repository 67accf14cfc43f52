//! The wire dialects: how a connection is opened, how a request looks, and
//! which incoming message answers it.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use benchkit::device::{Claim, Device};
use benchkit::url::Url;
use benchkit::ws::WsConn;
use clap::ValueEnum;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Dialect {
    /// JSON-RPC 2.0, `connect` first when a token is given.
    Aleph,
    /// JSON-RPC 2.0, the token in the query of the upgrade request.
    Comis,
    /// Request, response and event frames after a challenge and a `connect`.
    Openclaw,
    /// As `openclaw`, with the older protocol number.
    Argent,
    /// JSON-RPC without the version member, `initialize` first.
    Codex,
    /// JSON-RPC 2.0 with no handshake at all.
    Raw,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub dialect: Dialect,
    pub url: Url,
    pub token: Option<String>,
    pub method: String,
    pub params: Option<String>,
    /// Sign the connect with a device key (openclaw and argent).
    pub device: bool,
    pub client_id: String,
    pub client_mode: String,
}

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);
const SCOPES: [&str; 3] = ["operator.admin", "operator.read", "operator.write"];

impl Dialect {
    pub fn default_method(self) -> &'static str {
        match self {
            Dialect::Comis => "system.ping",
            Dialect::Codex => "model/list",
            _ => "health",
        }
    }

    fn frames(self) -> bool {
        matches!(self, Dialect::Openclaw | Dialect::Argent)
    }
}

impl Options {
    /// Opens a connection and completes the dialect's handshake.
    pub async fn open(&self, index: u64) -> io::Result<WsConn> {
        match tokio::time::timeout(HANDSHAKE_LIMIT, self.handshake(index)).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "handshake timed out")),
        }
    }

    /// Where to upgrade: a Comis client hands its token over in the query.
    fn upgrade_url(&self) -> Url {
        let mut url = self.url.clone();
        if let (Dialect::Comis, Some(token)) = (self.dialect, &self.token) {
            let separator = if url.path.contains('?') { '&' } else { '?' };
            url.path = format!("{}{separator}token={token}", url.path);
        }
        url
    }

    async fn handshake(&self, index: u64) -> io::Result<WsConn> {
        let mut conn = WsConn::connect(&self.upgrade_url(), &[]).await?;
        match self.dialect {
            Dialect::Raw | Dialect::Comis => {}
            Dialect::Aleph => {
                if let Some(token) = &self.token {
                    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "connect", "params": {
                        "minProtocol": 1, "maxProtocol": 1, "role": "operator",
                        "client": { "id": "cli", "version": "0.1.0", "platform": "linux" },
                        "auth": { "token": token }, "events": { "chunk_topics": "chunk" } } });
                    exchange(&mut conn, &hello, |m| m["id"] == 1, |m| m.get("result").is_some()).await?;
                }
            }
            Dialect::Codex => {
                let hello = json!({ "id": 1, "method": "initialize", "params": {
                    "clientInfo": { "name": "wsload", "title": "wsload", "version": "0.1.0" } } });
                exchange(&mut conn, &hello, |m| m["id"] == 1, |m| m.get("result").is_some()).await?;
                conn.send_text(b"{\"method\":\"initialized\"}").await?;
            }
            Dialect::Openclaw | Dialect::Argent => self.connect_frames(&mut conn, index).await?,
        }
        Ok(conn)
    }

    /// Waits for the challenge, answers it, waits for the hello.
    async fn connect_frames(&self, conn: &mut WsConn, index: u64) -> io::Result<()> {
        let nonce = loop {
            let message: Value = serde_json::from_slice(conn.recv().await?)?;
            if message["event"] == "connect.challenge" {
                break message["payload"]["nonce"].as_str().unwrap_or("").to_string();
            }
        };
        let token = self.token.clone().unwrap_or_default();
        let mut params = json!({
            "minProtocol": 1,
            "maxProtocol": if self.dialect == Dialect::Argent { 3 } else { 9 },
            "client": { "id": self.client_id, "version": "1.0.0", "platform": "linux",
                "mode": self.client_mode },
            "role": "operator",
            "scopes": SCOPES,
            "caps": [],
            "auth": { "token": token },
            "locale": "en-US",
            "userAgent": "wsload/0.1.0",
        });
        if self.device {
            let signed_at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
            params["device"] = Device::from_seed(index).sign(&Claim {
                client_id: &self.client_id,
                client_mode: &self.client_mode,
                role: "operator",
                scopes: &SCOPES,
                token: &token,
                nonce: &nonce,
                signed_at_ms,
            });
        }
        let hello = json!({ "type": "req", "id": "connect", "method": "connect", "params": params });
        exchange(conn, &hello, |m| m["id"] == "connect", |m| m["ok"] == true).await
    }

    /// Writes the text of one request.
    pub fn request(&self, out: &mut Vec<u8>, id: u64) {
        out.clear();
        let params = self.params.as_deref();
        let text = match self.dialect {
            Dialect::Openclaw | Dialect::Argent => format!(
                r#"{{"type":"req","id":"{id}","method":"{}","params":{}}}"#,
                self.method,
                params.unwrap_or("{}")
            ),
            Dialect::Codex => {
                format!(r#"{{"id":{id},"method":"{}","params":{}}}"#, self.method, params.unwrap_or("{}"))
            }
            _ => match params {
                Some(params) => {
                    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{}","params":{params}}}"#, self.method)
                }
                None => format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{}"}}"#, self.method),
            },
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// The request number that `message` answers, and whether it succeeded.
    pub fn reply(&self, message: &[u8], at_least: u64) -> Option<(u64, bool)> {
        let id = find_id(message, at_least)?;
        let needle: &[u8] = if self.dialect.frames() { b"\"ok\":true" } else { b"\"result\"" };
        Some((id, benchkit::http1::find(message, needle).is_some()))
    }
}

/// Sends `hello` and reads until its answer; other messages are skipped.
async fn exchange(
    conn: &mut WsConn,
    hello: &Value,
    is_answer: impl Fn(&Value) -> bool,
    is_good: impl Fn(&Value) -> bool,
) -> io::Result<()> {
    conn.send_text(hello.to_string().as_bytes()).await?;
    loop {
        let message: Value = serde_json::from_slice(conn.recv().await?)?;
        if is_answer(&message) {
            return if is_good(&message) {
                Ok(())
            } else {
                Err(io::Error::other(format!("handshake refused: {message}")))
            };
        }
    }
}

/// Finds an `"id"` member whose number (bare or quoted) is at least `at_least`.
/// The tools number requests by the clock, so no other id is that large.
fn find_id(message: &[u8], at_least: u64) -> Option<u64> {
    let mut rest = message;
    while let Some(at) = benchkit::http1::find(rest, b"\"id\"") {
        rest = &rest[at + 4..];
        let mut value = 0u64;
        let mut digits = 0;
        for byte in rest {
            match byte {
                b' ' | b':' | b'"' if digits == 0 => {}
                b'0'..=b'9' if digits < 19 => {
                    value = value * 10 + u64::from(byte - b'0');
                    digits += 1;
                }
                _ => break,
            }
        }
        if digits > 0 && value >= at_least {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dialect: Dialect, url: &str) -> Options {
        Options {
            dialect,
            url: Url::parse(url).unwrap(),
            token: Some("t-1".into()),
            method: dialect.default_method().into(),
            params: None,
            device: false,
            client_id: "cli".into(),
            client_mode: "cli".into(),
        }
    }

    #[test]
    fn only_comis_shows_its_token_in_the_query() {
        let path = |dialect, url| options(dialect, url).upgrade_url().path;
        assert_eq!(path(Dialect::Comis, "ws://127.0.0.1:1/ws"), "/ws?token=t-1");
        assert_eq!(path(Dialect::Comis, "ws://127.0.0.1:1/ws?a=b"), "/ws?a=b&token=t-1");
        assert_eq!(path(Dialect::Aleph, "ws://127.0.0.1:1"), "/");
    }

    #[test]
    fn finds_the_request_number_among_other_ids() {
        let text = br#"{"jsonrpc":"2.0","result":{"id":"main","x":{"id":3}},"id":1234567890}"#;
        assert_eq!(find_id(text, 1_000_000), Some(1234567890));
        let text = br#"{"type":"res","id": "9876543210","ok":true}"#;
        assert_eq!(find_id(text, 1_000_000), Some(9876543210));
        assert_eq!(find_id(b"{\"event\":\"tick\"}", 1), None);
    }
}
