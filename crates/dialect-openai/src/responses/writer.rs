//! The bytes of numbered events.

use axum::body::Bytes;
use serde::Serialize;

/// Writes events, each with its name and the next number.
#[derive(Debug, Default)]
pub(super) struct Writer {
    sequence_number: u64,
    out: Vec<u8>,
}

impl Writer {
    /// `fields` is an object with at least one field.
    pub fn event(&mut self, kind: &str, fields: &impl Serialize) {
        let head = format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{},", self.sequence_number);
        self.sequence_number += 1;
        self.out.extend_from_slice(head.as_bytes());
        let brace = self.out.len();
        serde_json::to_writer(&mut self.out, fields).expect("an event is made of strings, numbers and JSON");
        // What is written begins another object; its fields belong to this one.
        self.out.remove(brace);
        self.out.extend_from_slice(b"\n\n");
    }

    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }
}
