//! Answers as they come: numbered events.

use axum::body::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use super::Keeping;
use super::draft::Draft;
use crate::chat::pieces::Pieces;
use crate::sse::DONE;

/// Pieces at hand that go on in one write.
const GATHERED_MAX: usize = 64;

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

    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }
}

/// All events of an answer. The first are told before the source is asked for its first piece.
pub(super) fn stream(mut draft: Draft, pieces: Pieces, keeping: Keeping) -> impl Stream<Item = Bytes> + Send {
    async_stream::stream! {
        yield written(&mut draft);
        let mut pieces = pieces.ready_chunks(GATHERED_MAX);
        let mut is_over = false;
        while !is_over && let Some(at_hand) = pieces.next().await {
            for piece in at_hand {
                match piece {
                    Ok(piece) => {
                        if let Some(ended) = draft.take(piece) {
                            draft.end(&ended);
                            is_over = true;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error.message, "a streamed answer failed");
                        draft.fail();
                        is_over = true;
                    }
                }
            }
            if !is_over {
                let bytes = written(&mut draft);
                if !bytes.is_empty() {
                    yield bytes;
                }
            }
        }
        if !is_over {
            tracing::error!("a streamed answer ended without saying so");
            draft.fail();
        }
        // Kept before its end is told: whoever hears of it may ask for it at once.
        keeping.keep(draft.object());
        let mut last = written(&mut draft).to_vec();
        last.extend_from_slice(DONE);
        yield last.into();
    }
}

fn written(draft: &mut Draft) -> Bytes {
    draft.writer.as_mut().map(Writer::take).unwrap_or_default()
}
