//! What a vendor's refusal means: its message, found in whichever shape it has, and its kind.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use serde_json::Value;

use super::retry_after::retry_after;
use crate::error::{ProviderError, ProviderErrorKind};
use crate::fault::Fault;

/// Most bytes of a vendor's body that are kept.
pub(crate) const BODY_BYTES_MAX: usize = 4096;
/// Most bytes of a vendor's message that are shown.
const MESSAGE_BYTES_MAX: usize = 1000;

/// The error for an answer with a status other than success.
pub(crate) fn from_response(provider: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
    let text = String::from_utf8_lossy(body);
    let found = serde_json::from_str::<Value>(&text).ok().map(|value| Found::in_value(&value)).unwrap_or_default();
    let message =
        found.message.clone().or_else(|| plain_message(&text)).unwrap_or_else(|| status_line(status, headers));
    ProviderError {
        kind: kind(status.as_u16(), &found.codes, &message),
        message: clipped(&message, MESSAGE_BYTES_MAX).to_owned(),
        status: Some(status.as_u16()),
        retry_after: retry_after(headers),
        body: (!text.is_empty()).then(|| clipped(&text, BODY_BYTES_MAX).to_owned()),
        provider: provider.to_owned(),
    }
}

/// The fault for an error object that came inside a stream of success.
pub(crate) fn in_stream(event: &Value) -> Fault {
    let found = Found::in_value(event);
    let message = found.message.clone().unwrap_or_else(|| "reported an error inside the answer".to_owned());
    let status = found.codes.iter().find_map(|code| code.parse::<u16>().ok().filter(|code| (400..600).contains(code)));
    let kind = kind(status.unwrap_or(500), &found.codes, &message);
    Fault {
        kind,
        message: clipped(&message, MESSAGE_BYTES_MAX).to_owned(),
        status,
        body: Some(clipped(&event.to_string(), BODY_BYTES_MAX).to_owned()),
    }
}

/// `text` cut to at most `bytes_max` bytes, between characters.
pub(crate) fn clipped(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[derive(Default)]
struct Found {
    message: Option<String>,
    /// Every machine-readable word beside it: `type`, `code`, `status`, `reason`.
    codes: Vec<String>,
}

impl Found {
    /// Knows `{"error": {…}}`, `{"error": "…"}`, `{"message": "…"}`, `{"detail": …}`, the same inside an
    /// array or a `response`, and what stands in them.
    fn in_value(value: &Value) -> Self {
        let mut found = Self::default();
        found.collect(value, 0);
        found
    }

    fn collect(&mut self, value: &Value, depth: u8) {
        match value {
            Value::Array(items) => items.iter().take(4).for_each(|item| self.collect(item, depth + 1)),
            Value::Object(fields) if depth < 5 => {
                // From the inside out: the innermost message is the vendor's own.
                for key in ["error", "errors", "response", "detail", "details"] {
                    match fields.get(key) {
                        Some(Value::String(text)) => self.take_message(text),
                        Some(inner) => self.collect(inner, depth + 1),
                        None => {}
                    }
                }
                for key in ["type", "code", "status", "reason"] {
                    match fields.get(key) {
                        Some(Value::String(code)) => self.codes.push(code.to_lowercase()),
                        Some(Value::Number(code)) => self.codes.push(code.to_string()),
                        _ => {}
                    }
                }
                for key in ["message", "msg"] {
                    if let Some(Value::String(text)) = fields.get(key) {
                        self.take_message(text);
                    }
                }
            }
            _ => {}
        }
    }

    fn take_message(&mut self, text: &str) {
        if self.message.is_none() && !text.trim().is_empty() {
            self.message = Some(text.trim().to_owned());
        }
    }
}

/// The first line of a body that is neither JSON nor a page.
fn plain_message(text: &str) -> Option<String> {
    let line = text.trim().lines().next()?.trim();
    (!line.is_empty() && !line.starts_with(['<', '{', '['])).then(|| line.to_owned())
}

fn status_line(status: StatusCode, headers: &HeaderMap) -> String {
    let line = format!("HTTP {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    match headers.get(LOCATION).and_then(|place| place.to_str().ok()) {
        Some(place) if status.is_redirection() => format!("{} points to `{place}`; set `base_url` to it", line.trim()),
        _ => line.trim().to_owned(),
    }
}

/// The kind of a refusal. Vendors put different things under one status, so their codes and, last,
/// their words are asked before it.
fn kind(status: u16, codes: &[String], message: &str) -> ProviderErrorKind {
    let has = |words: &[&str]| codes.iter().any(|code| words.contains(&code.as_str()));
    if has(&["context_length_exceeded", "string_above_max_length"]) || (status < 500 && tells_of_length(message)) {
        ProviderErrorKind::ContextTooLong
    } else if has(&[
        "api_key_invalid",
        "invalid_api_key",
        "authentication_error",
        "permission_error",
        "unauthenticated",
    ]) {
        ProviderErrorKind::Auth
    } else if has(&["model_not_found", "not_found_error"]) {
        ProviderErrorKind::ModelNotFound
    } else if has(&["rate_limit_error", "rate_limit_exceeded", "resource_exhausted", "insufficient_quota"]) {
        ProviderErrorKind::RateLimited
    } else if status == 500 && has(&["invalid_request_error", "invalid_argument", "invalid_prompt"]) {
        // Only inside a stream, where there is no status of its own.
        ProviderErrorKind::BadRequest
    } else {
        match status {
            // 402: the account has no money left; another provider may.
            401..=403 => ProviderErrorKind::Auth,
            404 => ProviderErrorKind::ModelNotFound,
            408 => ProviderErrorKind::Timeout,
            429 => ProviderErrorKind::RateLimited,
            500.. => ProviderErrorKind::Overloaded,
            _ => ProviderErrorKind::BadRequest,
        }
    }
}

/// Vendors without a code for it say it in one of these ways.
fn tells_of_length(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "maximum context length",
        "context length",
        "context window",
        "prompt is too long",
        "input is too long",
        "exceeds the maximum number of tokens",
        "exceed context limit",
    ]
    .into_iter()
    .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests;
