//! The bytes of the replies, in the OpenAI and the Anthropic shape.

use std::time::{SystemTime, UNIX_EPOCH};

use benchkit::{clock, stamp};
use serde_json::json;

use crate::profile::Profile;

#[derive(Clone, Copy, PartialEq)]
pub enum Shape {
    OpenAi,
    Anthropic,
}

const WORD: &str = " token";

/// The content of one token. Tokens are numbered, because some gateways take a
/// long run of equal tokens for a broken model and cut the stream.
fn word(profile: &Profile, index: u32, out: &mut Vec<u8>) {
    if profile.stamp {
        stamp::write(out, clock::now_ns());
    } else {
        out.extend_from_slice(WORD.as_bytes());
        out.extend_from_slice(index.to_string().as_bytes());
    }
}

pub fn http(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
        reason(status),
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

pub fn error(shape: Shape, status: u16, retry_after: u32) -> Vec<u8> {
    let headers = match status {
        429 | 503 => format!("retry-after: {retry_after}\r\n"),
        _ => String::new(),
    };
    let body = match shape {
        Shape::OpenAi => json!({ "error": {
            "message": "injected fault", "type": "mock_fault", "param": null, "code": status.to_string()
        }}),
        Shape::Anthropic => json!({ "type": "error", "error": {
            "type": if status == 429 { "rate_limit_error" } else { "api_error" },
            "message": "injected fault"
        }}),
    };
    http(status, &headers, body.to_string().as_bytes())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// A whole reply in one piece.
pub fn complete(shape: Shape, model: &str, profile: &Profile) -> Vec<u8> {
    let mut content = Vec::with_capacity(profile.tokens as usize * (WORD.len() + 4));
    for index in 0..profile.tokens {
        word(profile, index, &mut content);
    }
    let content = String::from_utf8(content).expect("words are ASCII");
    let body = match shape {
        Shape::OpenAi => json!({
            "id": "chatcmpl-mock", "object": "chat.completion", "created": unix_seconds(),
            "model": model,
            "choices": [{ "index": 0, "finish_reason": "stop",
                "message": { "role": "assistant", "content": content } }],
            "usage": { "prompt_tokens": 8, "completion_tokens": profile.tokens,
                "total_tokens": profile.tokens + 8 },
        }),
        Shape::Anthropic => json!({
            "id": "msg_mock", "type": "message", "role": "assistant", "model": model,
            "content": [{ "type": "text", "text": content }],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": { "input_tokens": 8, "output_tokens": profile.tokens },
        }),
    };
    http(200, "", body.to_string().as_bytes())
}

pub const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
pub const STREAM_END: &[u8] = b"0\r\n\r\n";

/// Renders the events of one stream as HTTP chunks.
pub struct Events<'a> {
    shape: Shape,
    profile: &'a Profile,
    prefix: String,
    suffix: &'static str,
    model: &'a str,
    usage: bool,
    event: Vec<u8>,
}

impl<'a> Events<'a> {
    pub fn new(shape: Shape, model: &'a str, profile: &'a Profile, usage: bool) -> Self {
        let (prefix, suffix) = match shape {
            Shape::OpenAi => (
                format!(
                    "data: {{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":{},\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"",
                    unix_seconds(),
                    json!(model)
                ),
                "\"},\"finish_reason\":null}]}\n\n",
            ),
            Shape::Anthropic => (
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"".to_string(),
                "\"}}\n\n",
            ),
        };
        Events { shape, profile, prefix, suffix, model, usage, event: Vec::with_capacity(512) }
    }

    /// What comes before the first token.
    pub fn open(&mut self, out: &mut Vec<u8>) {
        match self.shape {
            Shape::OpenAi => {
                let first = json!({ "id": "chatcmpl-mock", "object": "chat.completion.chunk",
                    "created": unix_seconds(), "model": self.model,
                    "choices": [{ "index": 0, "delta": { "role": "assistant", "content": "" },
                        "finish_reason": null }] });
                chunk(out, format!("data: {first}\n\n").as_bytes());
            }
            Shape::Anthropic => {
                let start = json!({ "type": "message_start", "message": {
                    "id": "msg_mock", "type": "message", "role": "assistant", "model": self.model,
                    "content": [], "stop_reason": null, "stop_sequence": null,
                    "usage": { "input_tokens": 8, "output_tokens": 1 } } });
                let block = json!({ "type": "content_block_start", "index": 0,
                    "content_block": { "type": "text", "text": "" } });
                chunk(
                    out,
                    format!("event: message_start\ndata: {start}\n\nevent: content_block_start\ndata: {block}\n\n")
                        .as_bytes(),
                );
            }
        }
    }

    pub fn token(&mut self, index: u32, out: &mut Vec<u8>) {
        self.event.clear();
        self.event.extend_from_slice(self.prefix.as_bytes());
        word(self.profile, index, &mut self.event);
        self.event.extend_from_slice(self.suffix.as_bytes());
        chunk(out, &self.event);
    }

    pub fn garbage(&mut self, out: &mut Vec<u8>) {
        chunk(out, b"data: {\"id\":\"chatcmpl-mock\",\"choices\":[{\"delta\n\n");
    }

    /// What comes after the last token, with the end of the chunked body.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        match self.shape {
            Shape::OpenAi => {
                let last = json!({ "id": "chatcmpl-mock", "object": "chat.completion.chunk",
                    "created": unix_seconds(), "model": self.model,
                    "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
                let mut text = format!("data: {last}\n\n");
                if self.usage {
                    let usage = json!({ "id": "chatcmpl-mock", "object": "chat.completion.chunk",
                        "created": unix_seconds(), "model": self.model, "choices": [],
                        "usage": { "prompt_tokens": 8, "completion_tokens": self.profile.tokens,
                            "total_tokens": self.profile.tokens + 8 } });
                    text.push_str(&format!("data: {usage}\n\n"));
                }
                text.push_str("data: [DONE]\n\n");
                chunk(out, text.as_bytes());
            }
            Shape::Anthropic => {
                let delta = json!({ "type": "message_delta",
                    "delta": { "stop_reason": "end_turn", "stop_sequence": null },
                    "usage": { "output_tokens": self.profile.tokens } });
                chunk(
                    out,
                    format!(
                        "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\nevent: message_delta\ndata: {delta}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
                    )
                    .as_bytes(),
                );
            }
        }
        out.extend_from_slice(STREAM_END);
    }
}

fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
