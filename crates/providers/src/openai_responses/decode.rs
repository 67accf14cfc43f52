//! The events of a response.

use model::Usage;
use serde::Deserialize;
use serde_json::Value;

use crate::calls::{CallIds, Calls};
use crate::chat::{Chunk, FinishReason};
use crate::fault::{Fault, read_json};
use crate::http::refusal;

pub(crate) struct Decoder {
    calls: Calls,
}

impl Decoder {
    pub fn new(ids: CallIds) -> Self {
        Self { calls: Calls::new(ids) }
    }

    fn item_added(&mut self, event: &Event, out: &mut Vec<Chunk>) {
        if let Some(item) = event.item.as_ref().filter(|item| is_call(item)) {
            self.calls.piece(event.output_index, text(item, "call_id"), text(item, "name"), None, out);
        }
    }

    fn item_done(&mut self, event: Event, out: &mut Vec<Chunk>) {
        let Some(item) = event.item else { return };
        if is_call(&item) {
            // The whole call: what the deltas said, or all of it where there were none.
            let has_arguments = event.output_index.is_some_and(|index| self.calls.has_arguments(index));
            let arguments = if has_arguments { None } else { text(&item, "arguments") };
            self.calls.piece(event.output_index, text(&item, "call_id"), text(&item, "name"), arguments, out);
        } else if text(&item, "type") == Some("reasoning") {
            out.push(Chunk::ReasoningBlock(item));
        }
    }

    fn finish(&mut self, response: Option<Response>, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        let response = response.unwrap_or_default();
        let reason = match response.incomplete_details.and_then(|details| details.reason).as_deref() {
            Some("content_filter") => FinishReason::ContentFilter,
            Some(_) => FinishReason::Length,
            None if self.calls.is_empty() => FinishReason::Stop,
            None => FinishReason::ToolCalls,
        };
        self.calls.close(out)?;
        out.extend(response.usage.map(|usage| Chunk::Usage(usage.into())));
        out.push(Chunk::Finish(reason));
        Ok(())
    }
}

impl crate::stream::Decoder for Decoder {
    fn event(&mut self, payload: &[u8], out: &mut Vec<Chunk>) -> Result<(), Fault> {
        if payload.trim_ascii() == b"[DONE]" {
            return Ok(());
        }
        let event: Event = read_json(payload, "an event")?;
        match event.kind.as_str() {
            "response.output_text.delta" | "response.refusal.delta" => {
                out.extend(event.delta.filter(|text| !text.is_empty()).map(Chunk::Text));
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                out.extend(event.delta.filter(|text| !text.is_empty()).map(Chunk::Reasoning));
            }
            // The parts of a summary are paragraphs.
            "response.reasoning_summary_part.added" if event.summary_index.unwrap_or(0) > 0 => {
                out.push(Chunk::Reasoning("\n\n".to_owned()));
            }
            "response.output_item.added" => self.item_added(&event, out),
            "response.function_call_arguments.delta" => {
                self.calls.piece(event.output_index, None, None, event.delta.as_deref(), out);
            }
            "response.output_item.done" => self.item_done(event, out),
            "response.completed" | "response.incomplete" => return self.finish(event.response, out),
            "response.failed" | "error" => {
                let event: Value = read_json(payload, "an event")?;
                return Err(refusal::in_stream(&event));
            }
            "response.cancelled" => return Err(Fault::cut("the vendor cancelled the answer")),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<Chunk>) -> Result<(), Fault> {
        Err(Fault::cut("the answer ended before it was completed"))
    }
}

fn is_call(item: &Value) -> bool {
    text(item, "type") == Some("function_call")
}

fn text<'a>(item: &'a Value, key: &str) -> Option<&'a str> {
    item.get(key).and_then(Value::as_str)
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    output_index: Option<u64>,
    summary_index: Option<u64>,
    delta: Option<String>,
    item: Option<Value>,
    response: Option<Response>,
}

#[derive(Deserialize, Default)]
struct Response {
    incomplete_details: Option<IncompleteDetails>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct IncompleteDetails {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct WireUsage {
    input_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(wire: WireUsage) -> Usage {
        Usage {
            input: wire.input_tokens.unwrap_or(0),
            output: wire.output_tokens.unwrap_or(0),
            cache_read: wire.input_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            cache_write: 0,
            reasoning: wire.output_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0),
        }
    }
}
