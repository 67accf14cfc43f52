//! Answers in one piece.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use providers::{Forwarded, ProviderError, ProviderErrorKind};
use serde_json::{Map, Value, json};

use super::course::Course;
use crate::errors::{ApiError, json_bytes};
use crate::splice::{Answered, with_model};

/// Most bytes of an answer in one piece; pictures may come inside it.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most bytes of a refusal that are passed on.
pub(super) const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// Most characters of a refusal that is no JSON.
const MESSAGE_CHARS_MAX: usize = 1000;

type Pieces = BoxStream<'static, Result<Bytes, ProviderError>>;

/// The upstream's answer with the client's name for the model.
pub(super) async fn answer(provider: &str, forwarded: Forwarded, asked: &str) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(forwarded.status).unwrap_or(StatusCode::OK);
    let body = read(provider, forwarded).await?;
    let answered = read_answer(provider, &body)?;
    Ok(json_bytes(status, with_model(&body, answered.model, asked)))
}

pub(crate) fn read_answer<'a>(provider: &str, body: &'a [u8]) -> Result<Answered<'a>, ApiError> {
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let answered = serde_json::from_slice(body).ok().filter(|_| is_object);
    answered.ok_or_else(|| {
        ProviderError::new(provider, ProviderErrorKind::Malformed, "the answer is not a JSON object").into()
    })
}

/// The whole body. Read to its end, so that the connection can be used again.
pub(super) async fn read(provider: &str, forwarded: Forwarded) -> Result<Bytes, ApiError> {
    let body = read_up_to(forwarded.body, ANSWER_BYTES_MAX).await?;
    if body.len() >= ANSWER_BYTES_MAX {
        let message = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
        return Err(ProviderError::new(provider, ProviderErrorKind::Malformed, message).into());
    }
    Ok(body)
}

/// The first `bytes_max` bytes of a body, or all of it.
pub(super) async fn read_up_to(mut pieces: Pieces, bytes_max: usize) -> Result<Bytes, ProviderError> {
    let Some(first) = pieces.next().await.transpose()? else { return Ok(Bytes::new()) };
    let Some(second) = pieces.next().await.transpose()? else { return Ok(first.slice(..first.len().min(bytes_max))) };
    let mut whole = Vec::from(first);
    let mut next = Some(second);
    while let Some(piece) = next {
        let room = bytes_max.saturating_sub(whole.len());
        whole.extend_from_slice(&piece[..piece.len().min(room)]);
        if whole.len() >= bytes_max {
            break;
        }
        next = pieces.next().await.transpose()?;
    }
    whole.truncate(bytes_max);
    Ok(whole.into())
}

/// Whether a refusal is worded as this API does.
pub(super) fn is_error_body(body: &[u8]) -> bool {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    value.is_some_and(|value| value["error"]["message"].is_string())
}

/// What a refusal in other words says.
pub(super) fn message_of(body: &[u8], status: StatusCode) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = ["/error", "/message", "/detail", "/error/error", "/0/error/message"]
        .into_iter()
        .find_map(|path| value.pointer(path)?.as_str());
    let text = String::from_utf8_lossy(body);
    let line = text.trim().lines().next().unwrap_or_default().trim();
    let plain = (value.is_null() && !line.is_empty() && !line.starts_with(['<', '{', '['])).then_some(line);
    let words = said.or(plain).unwrap_or_else(|| status.canonical_reason().unwrap_or("the provider refused"));
    words.chars().take(MESSAGE_CHARS_MAX).collect()
}

/// A document as the stream that its client asked for.
pub(super) fn as_stream(mut course: Course, document: &[u8]) -> impl Stream<Item = Bytes> + use<> {
    match serde_json::from_slice::<Value>(document) {
        Ok(document) => events(&document).iter().for_each(|event| course.feed(format!("data: {event}\n\n").as_bytes())),
        Err(_) => course.feed(b"data: not JSON\n\n"),
    }
    course.feed(b"data: [DONE]\n\n");
    futures_util::stream::iter([Bytes::from(course.take())])
}

fn events(document: &Value) -> Vec<Value> {
    if document.get("error").is_some_and(|error| !error.is_null()) {
        return vec![document.clone()];
    }
    let mut head: Map<String, Value> = document.as_object().cloned().unwrap_or_default();
    let usage = head.remove("usage");
    let choices = match head.remove("choices") {
        Some(Value::Array(choices)) => choices,
        _ => Vec::new(),
    };
    head.insert("object".into(), "chat.completion.chunk".into());
    let chunk = |choices: Value| {
        let mut chunk = head.clone();
        chunk.insert("choices".into(), choices);
        Value::Object(chunk)
    };
    let mut events = Vec::new();
    for choice in choices {
        let index = choice.get("index").cloned().unwrap_or_else(|| 0.into());
        let mut delta = choice.get("message").cloned().unwrap_or_default();
        for (number, call) in
            delta.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten().enumerate()
        {
            call["index"] = number.into();
        }
        events.push(chunk(json!([{ "index": index, "delta": delta, "finish_reason": null }])));
        let reason = choice.get("finish_reason").cloned().unwrap_or_default();
        events.push(chunk(json!([{ "index": index, "delta": {}, "finish_reason": reason }])));
    }
    if let Some(usage) = usage.filter(Value::is_object) {
        let mut last = chunk(json!([]));
        last["usage"] = usage;
        events.push(last);
    }
    events
}
