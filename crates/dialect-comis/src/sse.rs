//! Server-sent events: frames of exactly `event`, `data`, `id`, and the response around them.

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::Serialize;

pub(crate) const CONTENT: &str = "text/event-stream";

/// Keeps proxies from closing a silent stream; clients do not see it.
pub(crate) const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// Appends a frame. JSON text has no line breaks, so the data is one line.
pub(crate) fn frame(out: &mut Vec<u8>, event: &str, data: &impl Serialize, id: u64) {
    begin(out, event);
    let start = out.len();
    if serde_json::to_writer(&mut *out, data).is_err() {
        // Only maps with keys that are no strings cannot be written; our payloads have none.
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
    end(out, id);
}

/// Appends a frame without data, as `retry` and `ping` are.
pub(crate) fn bare_frame(out: &mut Vec<u8>, event: &str, id: u64) {
    begin(out, event);
    end(out, id);
}

fn begin(out: &mut Vec<u8>, event: &str) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(b"\ndata: ");
}

fn end(out: &mut Vec<u8>, id: u64) {
    out.extend_from_slice(b"\nid: ");
    out.extend_from_slice(id.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// The first frame of `/api/events`.
pub(crate) fn retry_frame(id: u64) -> Vec<u8> {
    let mut out = Vec::new();
    bare_frame(&mut out, "retry", id);
    out.pop();
    out.extend_from_slice(b"retry: 3000\n\n");
    out
}

/// The answer that streams frames until `frames` ends.
pub(crate) fn response(frames: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let body = Body::from_stream(frames.map(Ok::<Bytes, std::convert::Infallible>));
    (StatusCode::OK, headers(), body).into_response()
}

/// The answer to `HEAD`: the same without a stream behind it.
pub(crate) fn head() -> Response {
    (StatusCode::OK, headers()).into_response()
}

fn headers() -> [(axum::http::HeaderName, HeaderValue); 3] {
    [
        (CONTENT_TYPE, HeaderValue::from_static(CONTENT)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONNECTION, HeaderValue::from_static("keep-alive")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_laid_out_exactly() {
        let mut out = Vec::new();
        frame(&mut out, "token", &serde_json::json!({ "delta": "a\nb" }), 7);
        bare_frame(&mut out, "ping", 8);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "event: token\ndata: {\"delta\":\"a\\nb\"}\nid: 7\n\nevent: ping\ndata: \nid: 8\n\n");
        assert_eq!(String::from_utf8(retry_frame(0)).unwrap(), "event: retry\ndata: \nid: 0\nretry: 3000\n\n");
    }
}
