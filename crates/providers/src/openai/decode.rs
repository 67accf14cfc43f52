//! The stream of a chat completion, as OpenAI documents it and as others bend it.

use model::Usage;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::calls::{CallIds, Calls};
use crate::chat::{Chunk, FinishReason};
use crate::fault::{Fault, unreadable};
use crate::http::refusal;

pub(crate) struct Decoder {
    calls: Calls,
    has_content: bool,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
}

impl Decoder {
    pub fn new(ids: CallIds) -> Self {
        Self { calls: Calls::new(ids), has_content: false, finish: None, usage: None }
    }

    fn choice(&mut self, choice: &Choice<'_>, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        if let Some(delta) = &choice.delta {
            self.delta(delta, out)?;
        }
        match choice.finish_reason.as_deref() {
            None | Some("") => {}
            Some("length" | "max_tokens") => self.finish = Some(FinishReason::Length),
            Some("tool_calls" | "function_call") => self.finish = Some(FinishReason::ToolCalls),
            Some("content_filter") => self.finish = Some(FinishReason::ContentFilter),
            Some("error") => return Err(Fault::cut("broke its answer off with an error")),
            Some(_) => self.finish = Some(FinishReason::Stop),
        }
        Ok(())
    }

    fn delta(&mut self, delta: &Delta<'_>, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        let reasoning = delta.reasoning_content.or(delta.reasoning);
        if let Some(text) = reasoning.map(text_of).transpose()?.filter(|text| !text.is_empty()) {
            out.push(Chunk::Reasoning(text));
        }
        for content in [delta.content, delta.refusal].into_iter().flatten() {
            self.content(content, out)?;
        }
        for piece in delta.tool_calls.iter().flatten() {
            let function = piece.function.as_ref();
            let arguments = function.and_then(|function| function.arguments).map(text_of).transpose()?;
            let name = function.and_then(|function| function.name.as_deref());
            self.calls.piece(piece.index, piece.id.as_deref(), name, arguments.as_deref(), out);
        }
        Ok(())
    }

    /// Text, or Mistral's list of text and thinking parts.
    fn content(&mut self, content: &RawValue, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        if !content.get().starts_with('[') {
            let text = text_of(content)?;
            if !text.is_empty() {
                self.has_content = true;
                out.push(Chunk::Text(text));
            }
            return Ok(());
        }
        let parts: Vec<ContentPart> = parse(content.get().as_bytes())?;
        for part in parts {
            if let Some(text) = part.text.filter(|text| !text.is_empty()) {
                self.has_content = true;
                out.push(Chunk::Text(text));
            }
            let thoughts: String = part.thinking.into_iter().flatten().filter_map(|part| part.text).collect();
            if !thoughts.is_empty() {
                out.push(Chunk::Reasoning(thoughts));
            }
        }
        Ok(())
    }

    fn finish(&mut self, reason: FinishReason, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        self.calls.close(out)?;
        // Some servers say "stop" although they want tools called.
        let wants_tools = reason == FinishReason::Stop && !self.calls.is_empty();
        out.extend(self.usage.map(Chunk::Usage));
        out.push(Chunk::Finish(if wants_tools { FinishReason::ToolCalls } else { reason }));
        Ok(())
    }
}

impl crate::stream::Decoder for Decoder {
    fn event(&mut self, payload: &[u8], out: &mut Vec<Chunk>) -> Result<(), Fault> {
        let payload = payload.trim_ascii();
        if payload.is_empty() {
            return Ok(());
        }
        if payload == b"[DONE]" {
            return match self.finish {
                Some(reason) => self.finish(reason, out),
                None if self.has_content || !self.calls.is_empty() => self.finish(FinishReason::Stop, out),
                None => Err(Fault::cut("ended its answer without content")),
            };
        }
        let frame: Frame<'_> = parse(payload)?;
        if frame.error.is_some_and(|error| error.get() != "null") {
            let value: Value = parse(payload)?;
            return Err(refusal::in_stream(&value));
        }
        if let Some(usage) = frame.usage {
            self.usage = Some(usage.into());
        }
        // Only one answer was asked for.
        match frame.choices.iter().flatten().find(|choice| choice.index.unwrap_or(0) == 0) {
            Some(choice) => self.choice(choice, out),
            None => Ok(()),
        }
    }

    fn end(&mut self, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        match self.finish {
            Some(reason) => self.finish(reason, out),
            None => Err(Fault::cut("the answer ended without a finish reason")),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(&error, "an event"))
}

/// A string's text; `null` is none, and an object (arguments of some servers) is its own JSON.
fn text_of(raw: &RawValue) -> Result<String, Fault> {
    match raw.get() {
        "null" => Ok(String::new()),
        text if text.starts_with('"') => parse(text.as_bytes()),
        other => Ok(other.to_owned()),
    }
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<WireUsage>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    /// `message` in an answer that is not a stream.
    #[serde(borrow, alias = "message")]
    delta: Option<Delta<'a>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<Vec<CallPiece<'a>>>,
}

#[derive(Deserialize)]
struct CallPiece<'a> {
    index: Option<u64>,
    id: Option<String>,
    #[serde(borrow)]
    function: Option<FunctionPiece<'a>>,
}

#[derive(Deserialize)]
struct FunctionPiece<'a> {
    name: Option<String>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ContentPart {
    text: Option<String>,
    thinking: Option<Vec<ThoughtPart>>,
}

#[derive(Deserialize)]
struct ThoughtPart {
    text: Option<String>,
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    /// DeepSeek's name for cached tokens.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(wire: WireUsage) -> Usage {
        let prompt = wire.prompt_tokens_details.as_ref();
        let cached = prompt.and_then(|details| details.cached_tokens).or(wire.prompt_cache_hit_tokens);
        Usage {
            input: wire.prompt_tokens.unwrap_or(0),
            output: wire.completion_tokens.unwrap_or(0),
            cache_read: cached.unwrap_or(0),
            cache_write: prompt.and_then(|details| details.cache_write_tokens).unwrap_or(0),
            reasoning: wire.completion_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0),
        }
    }
}
