//! Answers as they come: one event for each piece.

use axum::body::Bytes;
use futures_util::stream::select_all;
use futures_util::{Stream, StreamExt};
use model::Usage;
use serde::Serialize;
use serde_json::json;

use super::answer::{CompletionUsage, finish_word};
use super::head::Head;
use super::pieces::{Piece, Pieces};
use super::request::StreamWish;
use crate::errors::FAILED_EVENT;
use crate::splice::quoted;
use crate::sse::DONE;

/// Pieces at hand that go on in one write.
const GATHERED_MAX: usize = 64;

#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub wish: Option<StreamWish>,
    pub names_functions: bool,
}

/// The chunks of all answers, mixed as they come. The first is told before any source is asked for
/// its first piece.
pub(super) fn stream(head: Head, style: Style, sources: Vec<Pieces>) -> impl Stream<Item = Bytes> + Send {
    async_stream::stream! {
        let mut writer = Writer::new(&head, style);
        (0..sources.len()).for_each(|index| writer.delta(index, &json!({ "role": "assistant" }), None));
        yield writer.take();
        let mut open = sources.len();
        let numbered = sources.into_iter().enumerate().map(|(index, pieces)| pieces.map(move |piece| (index, piece)));
        let mut pieces = select_all(numbered).ready_chunks(GATHERED_MAX);
        while let Some(at_hand) = pieces.next().await {
            for (index, piece) in at_hand {
                match piece {
                    Ok(piece) => {
                        open -= usize::from(matches!(piece, Piece::End(_)));
                        writer.piece(index, &piece);
                    }
                    Err(error) => {
                        tracing::debug!(%error.message, "a streamed answer failed");
                        yield writer.failed();
                        return;
                    }
                }
            }
            if open == 0 {
                break;
            }
            yield writer.take();
        }
        if open > 0 {
            tracing::error!("a streamed answer ended without saying so");
            yield writer.failed();
            return;
        }
        writer.end();
        yield writer.take();
    }
}

struct Writer {
    /// Up to the elements of `choices`.
    before: Vec<u8>,
    /// From there to the end of the event.
    after: &'static [u8],
    style: Style,
    usage: Usage,
    out: Vec<u8>,
}

impl Writer {
    fn new(head: &Head, style: Style) -> Self {
        let mut before = b"data: {\"id\":".to_vec();
        before.extend_from_slice(&quoted(&head.id));
        before.extend_from_slice(
            format!(",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":", head.created).as_bytes(),
        );
        before.extend_from_slice(&quoted(&head.model));
        before.extend_from_slice(b",\"choices\":[");
        let null_usage = style.wish.is_some_and(|wish| wish.null_usage);
        let after: &[u8] = if null_usage { b"],\"usage\":null}\n\n" } else { b"]}\n\n" };
        Self { before, after, style, usage: Usage::default(), out: Vec::new() }
    }

    fn piece(&mut self, index: usize, piece: &Piece) {
        match piece {
            Piece::Text(text) => self.delta(index, &Content { content: text }, None),
            // Never told as content, and a chunk has no other place for it.
            Piece::Reasoning(_) => {}
            Piece::Call { index: call, id, name } => {
                let function = json!({ "name": name, "arguments": "" });
                let delta = if self.style.names_functions {
                    json!({ "function_call": function })
                } else {
                    json!({ "tool_calls": [{ "index": call, "id": id, "type": "function", "function": function }] })
                };
                self.delta(index, &delta, None);
            }
            Piece::Arguments { index: call, text } => {
                let delta = if self.style.names_functions {
                    json!({ "function_call": { "arguments": text } })
                } else {
                    json!({ "tool_calls": [{ "index": call, "function": { "arguments": text } }] })
                };
                self.delta(index, &delta, None);
            }
            Piece::End(ended) => {
                self.usage = self.usage.plus(ended.usage);
                self.delta(index, &json!({}), Some(finish_word(ended.finish, self.style.names_functions)));
            }
        }
    }

    fn delta(&mut self, index: usize, delta: &impl Serialize, finish: Option<&'static str>) {
        self.out.extend_from_slice(&self.before);
        self.out.extend_from_slice(format!("{{\"index\":{index},\"delta\":").as_bytes());
        serde_json::to_writer(&mut self.out, delta).expect("a delta is strings and numbers");
        self.out.extend_from_slice(b",\"finish_reason\":");
        match finish {
            Some(word) => self.out.extend_from_slice(&quoted(word)),
            None => self.out.extend_from_slice(b"null"),
        }
        self.out.push(b'}');
        self.out.extend_from_slice(self.after);
    }

    fn end(&mut self) {
        if self.style.wish.is_none_or(|wish| wish.usage) {
            self.out.extend_from_slice(&self.before);
            self.out.extend_from_slice(b"],\"usage\":");
            serde_json::to_writer(&mut self.out, &CompletionUsage::from(self.usage)).expect("usage is numbers");
            self.out.extend_from_slice(b"}\n\n");
        }
        self.out.extend_from_slice(DONE);
    }

    fn failed(&mut self) -> Bytes {
        self.out.extend_from_slice(FAILED_EVENT);
        self.out.extend_from_slice(DONE);
        self.take()
    }

    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }
}

#[derive(Serialize)]
struct Content<'a> {
    content: &'a str,
}
