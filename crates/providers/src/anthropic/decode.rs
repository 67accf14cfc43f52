//! The events of a message.

use model::Usage;
use serde::Deserialize;
use serde_json::Value;

use crate::calls::{CallIds, Calls};
use crate::chat::{Chunk, FinishReason};
use crate::fault::{Fault, read_json};
use crate::http::refusal;

pub(crate) struct Decoder {
    calls: Calls,
    /// The open thinking block, put together from its deltas.
    block: Option<Value>,
    /// Arguments that came with the start of the open call instead of by deltas.
    early_input: Option<String>,
    usage: WireUsage,
    finish: Option<FinishReason>,
}

impl Decoder {
    pub fn new(ids: CallIds) -> Self {
        Self { calls: Calls::new(ids), block: None, early_input: None, usage: WireUsage::default(), finish: None }
    }

    fn start(&mut self, index: Option<u64>, block: Value, out: &mut Vec<Chunk>) {
        let text = |key: &str| block.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        match text("type") {
            Some("text") => out.extend(text("text").map(|text| Chunk::Text(text.to_owned()))),
            Some("tool_use") => {
                self.calls.piece(index, text("id"), text("name"), None, out);
                let input =
                    block.get("input").filter(|input| input.as_object().is_some_and(|fields| !fields.is_empty()));
                self.early_input = input.map(Value::to_string);
            }
            Some("thinking" | "redacted_thinking") => {
                out.extend(text("thinking").map(|text| Chunk::Reasoning(text.to_owned())));
                self.block = Some(block);
            }
            _ => {}
        }
    }

    fn delta(&mut self, index: Option<u64>, delta: Delta, out: &mut Vec<Chunk>) {
        match delta {
            Delta::Text { text } if !text.is_empty() => out.push(Chunk::Text(text)),
            Delta::Thinking { thinking } if !thinking.is_empty() => {
                self.append_to_block("thinking", &thinking);
                out.push(Chunk::Reasoning(thinking));
            }
            Delta::Signature { signature } => self.append_to_block("signature", &signature),
            Delta::InputJson { partial_json } => self.calls.piece(index, None, None, Some(&partial_json), out),
            Delta::Text { .. } | Delta::Thinking { .. } | Delta::Other => {}
        }
    }

    fn append_to_block(&mut self, key: &str, more: &str) {
        let Some(Value::Object(fields)) = &mut self.block else { return };
        match fields.get_mut(key) {
            Some(Value::String(text)) => text.push_str(more),
            _ => {
                fields.insert(key.to_owned(), more.into());
            }
        }
    }

    fn stop(&mut self, index: Option<u64>, out: &mut Vec<Chunk>) {
        if let Some(input) = self.early_input.take()
            && index.is_some_and(|index| !self.calls.has_arguments(index))
        {
            self.calls.piece(index, None, None, Some(&input), out);
        }
        out.extend(self.block.take().map(Chunk::ReasoningBlock));
    }

    fn finish(&mut self, reason: FinishReason, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        self.calls.close(out)?;
        out.extend(self.usage.total().map(Chunk::Usage));
        out.push(Chunk::Finish(reason));
        Ok(())
    }
}

impl crate::stream::Decoder for Decoder {
    fn event(&mut self, payload: &[u8], out: &mut Vec<Chunk>) -> Result<(), Fault> {
        match read_json(payload, "an event")? {
            Event::MessageStart { message } => self.usage.take(message.usage),
            Event::ContentBlockStart { index, content_block } => self.start(index, content_block, out),
            Event::ContentBlockDelta { index, delta } => self.delta(index, delta, out),
            Event::ContentBlockStop { index } => self.stop(index, out),
            Event::MessageDelta { delta, usage } => {
                self.usage.take(usage);
                if let Some(reason) = delta.stop_reason {
                    self.finish = Some(finish_reason(&reason));
                }
            }
            Event::MessageStop => {
                return match self.finish {
                    Some(reason) => self.finish(reason, out),
                    None => Err(Fault::cut("the answer ended without a stop reason")),
                };
            }
            Event::Error => {
                let event: Value = read_json(payload, "an event")?;
                return Err(refusal::in_stream(&event));
            }
            Event::Other => {}
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        match self.finish {
            Some(reason) => self.finish(reason, out),
            None => Err(Fault::cut("the answer ended without a stop reason")),
        }
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        // end_turn, stop_sequence, pause_turn, and what is yet to come.
        _ => FinishReason::Stop,
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        index: Option<u64>,
        content_block: Value,
    },
    ContentBlockDelta {
        index: Option<u64>,
        delta: Delta,
    },
    ContentBlockStop {
        index: Option<u64>,
    },
    MessageDelta {
        delta: MessageDelta,
        usage: Option<WireUsage>,
    },
    MessageStop,
    Error,
    /// `ping`, and what is yet to come.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Message {
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
}

/// The vendor tells the input first and the output, as a running total, later; newer versions repeat
/// the input then.
#[derive(Deserialize, Default, Clone, Copy)]
struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize, Clone, Copy)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl WireUsage {
    fn take(&mut self, newer: Option<WireUsage>) {
        let Some(newer) = newer else { return };
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
        self.cache_creation_input_tokens = newer.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = newer.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens_details = newer.output_tokens_details.or(self.output_tokens_details);
    }

    /// Ours counts cached tokens as input, theirs beside it.
    fn total(&self) -> Option<Usage> {
        let cache_read = self.cache_read_input_tokens.unwrap_or(0);
        let cache_write = self.cache_creation_input_tokens.unwrap_or(0);
        (self.input_tokens.is_some() || self.output_tokens.is_some()).then(|| Usage {
            input: self.input_tokens.unwrap_or(0) + cache_read + cache_write,
            output: self.output_tokens.unwrap_or(0),
            cache_read,
            cache_write,
            reasoning: self.output_tokens_details.and_then(|details| details.thinking_tokens).unwrap_or(0),
        })
    }
}
