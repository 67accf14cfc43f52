//! Answers of a provider that speaks this API itself: bytes in, nearly the same bytes out.
//!
//! What is promised of them whatever the upstream does: the model is called what the client called
//! it; a stream opens each choice with a role, closes it with a finish reason, tells the usage when
//! that is wanted, and ends with `[DONE]`, or says that it failed. [`course`] keeps that promise.

mod course;
mod events;
mod flow;
mod whole;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::ModelRef;
use providers::{Forwarded, Provider};

use crate::check::Issues;
use crate::errors::ApiError;
use crate::splice::{Envelope, UsageWish, upstream_body};
use crate::sse;
use course::{Course, Wishes};
use flow::Flow;
pub(crate) use whole::read_answer;

/// Path of the call below a provider's base URL.
const PATH: &str = "/chat/completions";

/// Passes a chat completion through. The upstream's status is known before anything is answered;
/// dropping the future or the answer's body drops the upstream's connection.
pub(crate) async fn completion(
    provider: &dyn Provider,
    model: &ModelRef,
    asked: &str,
    envelope: &Envelope<'_>,
    body: &[u8],
) -> Result<Response, ApiError> {
    let streams = checked(envelope)?;
    let spliced = upstream_body(body, envelope, &model.model).ok_or_else(ApiError::bad_json)?;
    let forwarded = provider.forward(PATH, Bytes::from(spliced)).await?;
    if !is_success(forwarded.status) {
        return refused(forwarded).await;
    }
    if !streams {
        return whole::answer(provider.name(), forwarded, asked).await;
    }
    let wishes = Wishes {
        usage: envelope.usage() != UsageWish::Unwanted,
        choices: envelope.choices(),
        prompt_bytes: envelope.messages.map_or(0, |messages| messages.get().len()),
    };
    let course = Course::new(asked, wishes);
    let is_document = forwarded.content_type.as_deref().is_some_and(|kind| kind.starts_with("application/json"));
    if is_document {
        // Some servers answer in one piece although a stream was asked for.
        let document = whole::read(provider.name(), forwarded).await?;
        return Ok(sse::response(whole::as_stream(course, &document)));
    }
    Ok(sse::response(Flow::new(provider.name(), forwarded.body, course)))
}

/// Passes any other call through whose answer is one document; gives the document.
pub(crate) async fn document(
    provider: &dyn Provider,
    path: &str,
    body: Vec<u8>,
) -> Result<Result<Bytes, Response>, ApiError> {
    let forwarded = provider.forward(path, Bytes::from(body)).await?;
    if is_success(forwarded.status) {
        whole::read(provider.name(), forwarded).await.map(Ok)
    } else {
        refused(forwarded).await.map(Err)
    }
}

/// Only what decides about the answer's form; the rest is the upstream's to judge. Gives whether the
/// answer is a stream.
fn checked(envelope: &Envelope<'_>) -> Result<bool, ApiError> {
    let mut issues = Issues::default();
    match envelope.messages.map(|messages| messages.get()) {
        None => issues.add("messages", "Invalid input: expected array, received undefined"),
        Some(text) if !text.starts_with('[') => issues.add("messages", "Invalid input: expected array"),
        Some(text) if text[1..].trim_start().starts_with(']') => {
            issues.add("messages", "Too small: expected array to have >=1 items");
        }
        Some(_) => {}
    }
    let streams = envelope.streams();
    if streams.is_none() {
        issues.add("stream", "Invalid input: expected boolean");
    }
    issues.result().map(|()| streams.unwrap_or_default())
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// The upstream's refusal: its status, its wait and, when it is worded as this API does, its body.
async fn refused(forwarded: Forwarded) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(forwarded.status)
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error());
    let Some(status) = status else {
        let message = format!("the provider answered with status {}; is its `base_url` right?", forwarded.status);
        return Err(ApiError::new(StatusCode::BAD_GATEWAY, message));
    };
    let retry_after = forwarded.retry_after.clone();
    // A refusal without its body is still a refusal.
    let body = whole::read_up_to(forwarded.body, whole::REFUSAL_BYTES_MAX).await.unwrap_or_default();
    let mut response = if whole::is_error_body(&body) {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    } else {
        ApiError::new(status, whole::message_of(&body, status)).into_response()
    };
    if let Some(wait) = retry_after.and_then(|wait| HeaderValue::from_str(&wait).ok()) {
        response.headers_mut().insert(RETRY_AFTER, wait);
    }
    Ok(response)
}
