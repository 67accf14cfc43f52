//! One connection to a gateway, in its own protocol: JSON-RPC 2.0 over WebSocket.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::anyhow;
use futures_util::{SinkExt, StreamExt};
use model::Secret;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::failure::{Exit, Failure};

/// From the first packet to the answer of `connect`.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Waiting for an answer, where the caller says nothing else.
pub const CALL_LIMIT: Duration = Duration::from_secs(120);
/// The gateway pings every 30 s; silence beyond this means that it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(100);
/// Events that wait while an answer is awaited. When there are more, the connection counts as lost:
/// who follows events takes them up again from the last cursor, who does not loses nothing.
const HELD_MAX: usize = 20_000;
/// The longest answer: a whole transcript.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// An error object of the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RpcError {
    pub code: i32,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// Credentials or scope are at fault: the codes of the published Aleph API.
    pub fn exit(&self) -> Exit {
        if (-32002..=-32000).contains(&self.code) { Exit::Refused } else { Exit::Failure }
    }
}

/// Why a call gave no result.
#[derive(Debug)]
pub enum CallError {
    Answered(RpcError),
    /// The connection is gone, with the reason.
    Lost(String),
    /// No answer in time; it may still come, and is then passed over.
    Late(Duration),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Answered(error) if error.exit() == Exit::Refused => Failure::refused(error.message),
            CallError::Answered(error) => Failure::because(error.message),
            CallError::Lost(reason) => {
                Failure::unreachable(anyhow!("the connection to the gateway was lost: {reason}"))
            }
            CallError::Late(limit) => {
                Failure::because(format!("the gateway did not answer within {} s", limit.as_secs()))
            }
        }
    }
}

/// An event as the gateway told it.
#[derive(Debug, Clone)]
pub struct Notification {
    pub topic: String,
    /// Present on events that the gateway keeps.
    pub cursor: Option<u64>,
    /// The cursor of the event that this is a part of; another part, with the cursor itself, follows.
    pub part_of: Option<u64>,
    /// The whole: topic, data, timestamp, and the cursor.
    pub raw: Box<RawValue>,
}

impl Notification {
    pub fn data(&self) -> Value {
        serde_json::from_str::<Value>(self.raw.get()).map(|mut whole| whole["data"].take()).unwrap_or_default()
    }
}

pub struct Client {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    held: VecDeque<Notification>,
}

enum Incoming {
    Answer { id: u64, result: Result<Box<RawValue>, RpcError> },
    Event(Notification),
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

#[derive(Deserialize)]
struct EventHead {
    topic: String,
    #[serde(default)]
    cursor: Option<u64>,
    #[serde(default)]
    part_of: Option<u64>,
}

impl Client {
    /// Connects and introduces itself. Of the two topics of a text delta only `stream.chunk` is asked for.
    pub async fn connect(url: &str, token: Option<&Secret>) -> Result<Client, Failure> {
        match timeout(CONNECT_LIMIT, Self::open(url, token)).await {
            Ok(result) => result,
            Err(_) => Err(unreachable(url, format!("nothing came within {} s", CONNECT_LIMIT.as_secs()))),
        }
    }

    async fn open(url: &str, token: Option<&Secret>) -> Result<Client, Failure> {
        let request = url.into_client_request().map_err(|error| Failure::usage(format!("`{url}`: {error}")))?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let opened = connect_async_with_config(request, Some(limits), true).await;
        let (stream, _) = opened.map_err(|error| not_opened(url, &error))?;
        let mut client = Client { stream, next_id: 0, held: VecDeque::new() };
        let mut params = json!({
            "minProtocol": 1, "maxProtocol": 1, "role": "operator", "client": { "id": "cli" },
            "events": { "chunk_topics": "chunk" },
        });
        if let Some(token) = token {
            params["auth"] = json!({ "token": token.expose_secret() });
        }
        match client.call("connect", &params).await {
            Ok(_) => Ok(client),
            Err(CallError::Answered(error)) if error.exit() == Exit::Refused => {
                let advice = if token.is_some() { "" } else { "; name a credential with --token or PATCHBAY_TOKEN" };
                Err(Failure::refused(format!("the gateway at {url} refuses: {}{advice}", error.message)))
            }
            Err(CallError::Answered(error)) => {
                Err(Failure::because(format!("the gateway at {url}: {}", error.message)))
            }
            Err(CallError::Lost(reason)) => Err(unreachable(url, reason)),
            Err(CallError::Late(_)) => Err(unreachable(url, "it does not answer")),
        }
    }

    /// One call, with [`CALL_LIMIT`].
    pub async fn call(&mut self, method: &str, params: &impl Serialize) -> Result<Box<RawValue>, CallError> {
        self.call_within(method, params, CALL_LIMIT).await
    }

    pub async fn call_within(
        &mut self,
        method: &str,
        params: &impl Serialize,
        limit: Duration,
    ) -> Result<Box<RawValue>, CallError> {
        timeout(limit, self.exchange(method, params)).await.unwrap_or(Err(CallError::Late(limit)))
    }

    /// One call whose result is read as `T`.
    pub async fn ask<T: for<'de> Deserialize<'de>>(
        &mut self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<T, Failure> {
        let raw = self.call(method, params).await?;
        serde_json::from_str(raw.get())
            .map_err(|error| Failure::because(format!("the answer to {method} is not understood: {error}")))
    }

    async fn exchange(&mut self, method: &str, params: &impl Serialize) -> Result<Box<RawValue>, CallError> {
        self.next_id += 1;
        let id = self.next_id;
        let request = request(id, method, params).map_err(|error| CallError::Lost(error.to_string()))?;
        self.stream.send(Message::text(request)).await.map_err(|error| lost(&error))?;
        loop {
            match self.receive().await? {
                Incoming::Answer { id: answered, result } if answered == id => {
                    return result.map_err(CallError::Answered);
                }
                // To a call that was given up.
                Incoming::Answer { .. } => {}
                Incoming::Event(_) if self.held.len() >= HELD_MAX => {
                    return Err(CallError::Lost(format!("{HELD_MAX} events came while an answer was awaited")));
                }
                Incoming::Event(event) => self.held.push_back(event),
            }
        }
    }

    /// The next event. Cancel safe.
    pub async fn next(&mut self) -> Result<Notification, CallError> {
        if let Some(event) = self.held.pop_front() {
            return Ok(event);
        }
        loop {
            if let Incoming::Event(event) = self.receive().await? {
                return Ok(event);
            }
        }
    }

    async fn receive(&mut self) -> Result<Incoming, CallError> {
        loop {
            let message = timeout(SILENCE_MAX, self.stream.next()).await;
            let message =
                message.map_err(|_| CallError::Lost(format!("nothing came for {} s", SILENCE_MAX.as_secs())))?;
            match message {
                Some(Ok(Message::Text(text))) => {
                    if let Some(incoming) = incoming(text.as_str())? {
                        return Ok(incoming);
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty());
                    return Err(CallError::Lost(reason.unwrap_or_else(|| String::from("the gateway closed it"))));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(lost(&error)),
                None => return Err(CallError::Lost(String::from("the gateway closed it"))),
            }
        }
    }

    /// Says goodbye; nobody waits for the answer.
    pub async fn close(mut self) {
        // The gateway notices a missing goodbye too.
        let _ = self.stream.close(None).await;
    }
}

/// A call as it is sent. Parameters that are `null` are left out: the gateway takes that for "none".
fn request(id: u64, method: &str, params: &impl Serialize) -> serde_json::Result<String> {
    let params = to_raw_value(params)?;
    let params = if params.get() == "null" { String::new() } else { format!(r#","params":{}"#, params.get()) };
    Ok(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{}{params}}}"#, json!(method)))
}

/// What a text frame means; `None` for notifications that are no events.
fn incoming(text: &str) -> Result<Option<Incoming>, CallError> {
    let strange = |error: serde_json::Error| CallError::Lost(format!("what came is no JSON-RPC: {error}"));
    let frame: Frame<'_> = serde_json::from_str(text).map_err(strange)?;
    if let Some(id) = frame.id.as_ref().and_then(Value::as_u64) {
        let result = match frame.error {
            Some(error) => Err(error),
            None => Ok(frame.result.unwrap_or(RawValue::NULL).to_owned()),
        };
        return Ok(Some(Incoming::Answer { id, result }));
    }
    let Some(params) = frame.params.filter(|_| frame.method.as_deref() == Some("event")) else {
        return match frame.error {
            Some(error) => Err(CallError::Lost(error.message)),
            None => Ok(None),
        };
    };
    let EventHead { topic, cursor, part_of } = serde_json::from_str(params.get()).map_err(strange)?;
    Ok(Some(Incoming::Event(Notification { topic, cursor, part_of, raw: params.to_owned() })))
}

fn lost(error: &tungstenite::Error) -> CallError {
    CallError::Lost(reason(error))
}

fn reason(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn unreachable(url: &str, reason: impl std::fmt::Display) -> Failure {
    Failure::unreachable(anyhow!("no gateway answers at {url}: {reason}"))
}

fn not_opened(url: &str, error: &tungstenite::Error) -> Failure {
    match error {
        tungstenite::Error::Http(response) if matches!(response.status().as_u16(), 401 | 403) => {
            Failure::refused(format!("the gateway at {url} refuses the connection: HTTP {}", response.status()))
        }
        tungstenite::Error::Http(response) => {
            unreachable(url, format!("something else does: HTTP {}", response.status()))
        }
        other => unreachable(url, reason(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_keeps_its_parameters_as_they_are_written() {
        let raw: Box<RawValue> = serde_json::from_str(r#"{"b":1.50,"a":12345678901234567890}"#).unwrap();
        let sent = request(7, "x.y", &raw).unwrap();
        assert_eq!(sent, r#"{"jsonrpc":"2.0","id":7,"method":"x.y","params":{"b":1.50,"a":12345678901234567890}}"#);
        assert_eq!(request(8, "z", &None::<()>).unwrap(), r#"{"jsonrpc":"2.0","id":8,"method":"z"}"#);
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        let answer = incoming(r#"{"jsonrpc":"2.0","id":3,"result":null}"#);
        assert!(matches!(answer, Ok(Some(Incoming::Answer { id: 3, result: Ok(result) })) if result.get() == "null"));
        let error = incoming(r#"{"jsonrpc":"2.0","id":4,"error":{"code":-32002,"message":"no"}}"#);
        assert!(
            matches!(error, Ok(Some(Incoming::Answer { id: 4, result: Err(error) })) if error.exit() == Exit::Refused)
        );
        let event = incoming(
            r#"{"jsonrpc":"2.0","method":"event","params":{"topic":"a.b","data":{"x":1},"timestamp":5,"cursor":7}}"#,
        );
        let Ok(Some(Incoming::Event(event))) = event else { panic!("no event") };
        assert_eq!((event.topic.as_str(), event.cursor, event.data()), ("a.b", Some(7), json!({ "x": 1 })));
        assert!(matches!(incoming(r#"{"jsonrpc":"2.0","method":"stream.other","params":{}}"#), Ok(None)));
        assert!(matches!(incoming("hello"), Err(CallError::Lost(_))));
    }
}
