//! Cutting a byte stream into events, whatever pieces the network delivers it in.
//!
//! Pure: no I/O, no allocation for what arrives whole. Both parsers give the same events for every
//! way of splitting the same bytes, and never panic.

pub mod lines;
pub mod sse;

pub use lines::LineParser;
pub use sse::SseParser;

use crate::error::ProviderErrorKind;
use crate::fault::Fault;

/// Longest event that is taken, in bytes; pictures may come inside one.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What receives the payload of each event; its error stops the parsing.
pub trait OnEvent: FnMut(&[u8]) -> Result<(), Fault> {}

impl<F: FnMut(&[u8]) -> Result<(), Fault>> OnEvent for F {}

/// Appends within the limit.
fn append(buffer: &mut Vec<u8>, bytes: &[u8], limit: usize) -> Result<(), Fault> {
    if buffer.len() + bytes.len() > limit {
        let message = format!("sent an event of more than {limit} bytes");
        return Err(Fault::new(ProviderErrorKind::Malformed, message));
    }
    buffer.extend_from_slice(bytes);
    Ok(())
}

/// Whether a last event without its end mark can be used: some servers leave out the mark.
fn is_whole(payload: &[u8]) -> bool {
    payload == b"[DONE]" || serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok()
}

#[cfg(test)]
mod tests;
