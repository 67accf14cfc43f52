//! A model server of the OpenAI kind. What it does with a call is read off the last user message.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The whole answer to every message.
pub const ANSWER: &str = "Half and whole.";

/// How a message is answered; its text ends with the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    AtOnce,
    /// A tool first.
    WithTool,
    /// Over a while.
    Slowly,
    /// Half of it, and the rest once [`Upstream::release`] was called.
    Held,
    /// A tool, then as `Held`.
    HeldWithTool,
    /// Half of it, and the connection is gone.
    Vanishing,
}

impl Manner {
    pub const ALL: [Manner; 6] =
        [Manner::AtOnce, Manner::WithTool, Manner::Slowly, Manner::Held, Manner::HeldWithTool, Manner::Vanishing];
    /// Those that end by themselves.
    pub const FREE: [Manner; 4] = [Manner::AtOnce, Manner::WithTool, Manner::Slowly, Manner::Vanishing];

    pub fn word(self) -> String {
        format!("{self:?}")
    }

    /// Of a message.
    pub fn of(text: &str) -> Manner {
        let last = text.rsplit(' ').next().unwrap_or_default().trim_end_matches('"');
        Manner::ALL.into_iter().find(|manner| manner.word() == last).expect("every message says how it is answered")
    }
}

pub struct Upstream {
    pub port: u16,
    released: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Upstream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let (released, watched) = watch::channel(false);
        let app = Router::new().route("/v1/chat/completions", post(complete)).with_state(watched);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("the upstream serves") });
        Upstream { port, released, task }
    }

    /// Answers that are held go on, and none is held any more.
    pub fn release(&self) {
        self.released.send_replace(true);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn chunk(delta: &Value, finish: &Value) -> Bytes {
    let choices = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
    let event = json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices });
    Bytes::from(format!("data: {event}\n\n"))
}

async fn complete(State(released): State<watch::Receiver<bool>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).expect("the gateway sends JSON");
    let messages = request["messages"].as_array().expect("with messages");
    let said = messages.iter().rev().find(|message| message["role"] == "user");
    let said = said.unwrap_or_else(|| panic!("nobody said anything: {request}"));
    let manner = Manner::of(&said["content"].to_string());
    let is_after_tool = messages.last().is_some_and(|message| message["role"] == "tool");
    let done = Bytes::from("data: [DONE]\n\n");
    if matches!(manner, Manner::WithTool | Manner::HeldWithTool) && !is_after_tool {
        let call = json!({ "tool_calls": [{ "index": 0, "id": "call_1", "type": "function", "function": { "name": "current_time", "arguments": "{}" } }] });
        let pieces = [chunk(&call, &Value::Null), chunk(&json!({}), &json!("tool_calls")), done];
        return answer(stream::iter(pieces.map(Ok)));
    }
    let hello = Ok(chunk(&json!({ "role": "assistant", "content": "Half " }), &Value::Null));
    let rest = [chunk(&json!({ "content": "and whole." }), &Value::Null), chunk(&json!({}), &json!("stop")), done];
    answer(stream::iter([hello]).chain(stream::iter(rest).then(move |piece| {
        let mut released = released.clone();
        async move {
            match manner {
                Manner::AtOnce | Manner::WithTool => {}
                Manner::Vanishing => return Err(std::io::Error::other("the provider is gone")),
                Manner::Slowly => tokio::time::sleep(Duration::from_millis(50)).await,
                Manner::Held | Manner::HeldWithTool => drop(released.wait_for(|released| *released).await),
            }
            Ok(piece)
        }
    })))
}

fn answer(pieces: impl stream::Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Response {
    let body = Body::from_stream(pieces);
    // No connection is left over when it is counted what is open.
    let response = Response::builder().header("content-type", "text/event-stream").header("connection", "close");
    response.body(body).expect("a legal response")
}
