//! One answer of a model, put together from its chunks.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Content, EndReason, ModelRef, NewMessage, Reasoning, ToolCall, Usage};
use providers::{Chunk, FinishReason, ProviderErrorKind};
use serde_json::Value;

use crate::journal::Journal;

/// Bytes of text, reasoning and arguments in one answer; a stream without end must not eat the memory.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Tool calls in one answer.
const CALLS_MAX: usize = 128;

/// Text that came together is told when it has this many bytes: more would make the answer appear in jumps.
const DELTA_BYTES: usize = 256;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) message: NewMessage,
    pub(crate) reason: EndReason,
}

impl Answer {
    /// The text alone, for a turn that ends before the answer's tools were begun.
    pub(crate) fn into_partial(self) -> Option<NewMessage> {
        partial(self.message.content, self.message.model, self.message.usage)
    }
}

/// An answer in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    has_begun: bool,
    text: Told,
    reasoning: Told,
    reasoning_blocks: Vec<Value>,
    calls: BTreeMap<usize, ToolCall>,
    usage: Option<Usage>,
    bytes: usize,
}

/// Text that grows, and how much of it the journal was told.
#[derive(Debug, Default)]
struct Told {
    text: String,
    /// In bytes.
    told: usize,
}

impl Told {
    fn untold(&self) -> &str {
        &self.text[self.told..]
    }

    /// The first word is told at once.
    fn is_due(&self) -> bool {
        self.told == 0 || self.untold().len() >= DELTA_BYTES
    }

    fn tell(&mut self, tell: impl FnOnce(&str)) {
        if !self.untold().is_empty() {
            tell(self.untold());
            self.told = self.text.len();
        }
    }
}

impl Draft {
    /// The vendor accepted the request.
    pub(crate) fn begin(&mut self) {
        self.has_begun = true;
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    pub(crate) fn text(&self) -> &str {
        &self.text.text
    }

    /// Something came that the vendor will charge for.
    pub(crate) fn has_content(&self) -> bool {
        self.bytes > 0 || self.usage.is_some()
    }

    /// Adds a chunk. Gives the finish reason with the last one.
    ///
    /// The first word is told at once; what follows it waits for [`Draft::tell`], so that chunks which
    /// came together are told together.
    pub(crate) fn take(
        &mut self,
        chunk: Chunk,
        journal: &dyn Journal,
        shows_reasoning: bool,
    ) -> Result<Option<FinishReason>, (ProviderErrorKind, String)> {
        let malformed = |message: String| Err((ProviderErrorKind::Malformed, message));
        match chunk {
            Chunk::Text(text) if text.is_empty() => {}
            Chunk::Text(text) => {
                self.bytes += text.len();
                self.reasoning.tell(|text| journal.reasoning(text));
                self.text.text.push_str(&text);
                if self.text.is_due() {
                    self.tell(journal);
                }
            }
            Chunk::Reasoning(text) => {
                self.bytes += text.len();
                if shows_reasoning && !text.is_empty() {
                    self.text.tell(|text| journal.text(text));
                    self.reasoning.text.push_str(&text);
                    if self.reasoning.is_due() {
                        self.tell(journal);
                    }
                }
            }
            Chunk::ReasoningBlock(block) => {
                self.bytes += block.to_string().len();
                self.reasoning_blocks.push(block);
            }
            Chunk::ToolCall { index, id, name } => {
                if self.calls.len() == CALLS_MAX {
                    return malformed(format!("the answer asks for more than {CALLS_MAX} tool calls"));
                }
                self.bytes += id.len() + name.len();
                self.calls.entry(index).or_insert(ToolCall { id, name, arguments: String::new() });
            }
            Chunk::ToolArguments { index, text } => {
                let Some(call) = self.calls.get_mut(&index) else {
                    return malformed(format!(
                        "the answer has arguments for tool call {index}, which it did not begin"
                    ));
                };
                self.bytes += text.len();
                call.arguments.push_str(&text);
            }
            Chunk::Usage(usage) => self.usage = Some(usage),
            Chunk::Finish(reason) => return Ok(Some(reason)),
        }
        if self.bytes > ANSWER_BYTES_MAX {
            return malformed(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"));
        }
        Ok(None)
    }

    pub(crate) fn has_untold(&self) -> bool {
        !(self.reasoning.untold().is_empty() && self.text.untold().is_empty())
    }

    /// Tells the journal what it was not told yet; at most one of the two is waiting.
    pub(crate) fn tell(&mut self, journal: &dyn Journal) {
        self.reasoning.tell(|text| journal.reasoning(text));
        self.text.tell(|text| journal.text(text));
    }

    /// What the vendor counted, else characters / 4 of the answer and `input` for the question.
    pub(crate) fn usage_or_estimate(&self, input: u64) -> Usage {
        self.usage.unwrap_or_else(|| Usage { input, output: (self.bytes as u64).div_ceil(4), ..Usage::default() })
    }

    pub(crate) fn finish(self, finish: FinishReason, model: &ModelRef) -> Answer {
        // What a filter withheld may be half of a call; a call that was cut off by the output limit
        // is told to the model when its arguments do not parse.
        let calls = if finish == FinishReason::ContentFilter { BTreeMap::new() } else { self.calls };
        let reasoning = Reasoning { text: self.reasoning.text, blocks: self.reasoning_blocks };
        let message = NewMessage {
            tool_calls: calls.into_values().collect(),
            reasoning: Some(reasoning).filter(|reasoning| *reasoning != Reasoning::default()),
            usage: self.usage,
            model: Some(model.to_string().into()),
            ..NewMessage::assistant(self.text.text)
        };
        let reason = match finish {
            FinishReason::Stop | FinishReason::ToolCalls => EndReason::Stop,
            FinishReason::Length => EndReason::Length,
            FinishReason::ContentFilter => EndReason::ContentFilter,
        };
        Answer { message, reason }
    }

    /// The text of an answer that was cut off; `None` when there is none.
    pub(crate) fn into_partial(self, model: Option<&ModelRef>) -> Option<NewMessage> {
        partial(self.text.text.into(), model.map(|model| model.to_string().into()), self.usage)
    }
}

fn partial(content: Content, model: Option<Arc<str>>, usage: Option<Usage>) -> Option<NewMessage> {
    if content.is_empty() {
        return None;
    }
    let mut message = NewMessage { model, usage, ..NewMessage::assistant(content) };
    message.metadata.insert(String::from("partial"), Value::Bool(true));
    Some(message)
}
