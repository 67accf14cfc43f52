//! The events of `streamGenerateContent`.

use model::Usage;
use serde::Deserialize;
use serde_json::Value;

use super::signature::{self, Place};
use crate::calls::{CallIds, Calls};
use crate::chat::{Chunk, FinishReason};
use crate::fault::{Fault, read_json};
use crate::http::refusal;

pub(crate) struct Decoder {
    calls: Calls,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
}

impl Decoder {
    pub fn new(ids: CallIds) -> Self {
        Self { calls: Calls::new(ids), finish: None, usage: None }
    }

    fn part(&mut self, part: Part, out: &mut Vec<Chunk>) {
        let is_thought = part.thought.unwrap_or(false);
        if let Some(text) = part.text.filter(|text| !text.is_empty()) {
            out.push(if is_thought { Chunk::Reasoning(text) } else { Chunk::Text(text) });
        }
        let mut call_id = None;
        if let Some(call) = part.function_call {
            let arguments =
                call.args.filter(|args| !args.is_null()).map_or_else(|| "{}".to_owned(), |args| args.to_string());
            call_id = Some(self.calls.whole(call.id.as_deref(), &call.name, &arguments, out));
        }
        // The signature of a text may come alone, after it, in an empty part.
        if let Some(signature) = part.thought_signature.filter(|_| !is_thought) {
            let place = call_id.as_deref().map_or(Place::Text, Place::Call);
            out.push(Chunk::ReasoningBlock(signature::block(&place, &signature)));
        }
    }

    fn candidate(&mut self, candidate: Candidate, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        for part in candidate.content.into_iter().filter_map(|content| content.parts).flatten() {
            self.part(part, out);
        }
        match candidate.finish_reason.as_deref() {
            None | Some("FINISH_REASON_UNSPECIFIED" | "") => {}
            Some("STOP" | "OTHER") => self.finish = Some(FinishReason::Stop),
            Some("MAX_TOKENS") => self.finish = Some(FinishReason::Length),
            Some(
                reason @ ("MALFORMED_FUNCTION_CALL"
                | "UNEXPECTED_TOOL_CALL"
                | "TOO_MANY_TOOL_CALLS"
                | "MALFORMED_RESPONSE"),
            ) => {
                return Err(Fault::malformed(format!("gave up its answer: {reason}")));
            }
            // SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII, LANGUAGE and their like.
            Some(_) => self.finish = Some(FinishReason::ContentFilter),
        }
        Ok(())
    }
}

impl crate::stream::Decoder for Decoder {
    fn event(&mut self, payload: &[u8], out: &mut Vec<Chunk>) -> Result<(), Fault> {
        let event: Event = read_json(payload, "an event")?;
        if event.error.is_some() {
            let value: Value = read_json(payload, "an event")?;
            return Err(refusal::in_stream(&value));
        }
        if let Some(usage) = event.usage_metadata {
            self.usage = Some(usage.into());
        }
        if event.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some()) {
            self.finish = Some(FinishReason::ContentFilter);
        }
        match event.candidates.into_iter().flatten().next() {
            Some(candidate) => self.candidate(candidate, out),
            None => Ok(()),
        }
    }

    /// Usage may follow the finish reason, so that only the end of the body is the end.
    fn end(&mut self, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        let Some(reason) = self.finish else {
            return Err(Fault::cut("the answer ended without a finish reason"));
        };
        self.calls.close(out)?;
        let wants_tools = reason == FinishReason::Stop && !self.calls.is_empty();
        out.extend(self.usage.map(Chunk::Usage));
        out.push(Chunk::Finish(if wants_tools { FinishReason::ToolCalls } else { reason }));
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    candidates: Option<Vec<Candidate>>,
    usage_metadata: Option<WireUsage>,
    prompt_feedback: Option<PromptFeedback>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    parts: Option<Vec<Part>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    text: Option<String>,
    thought: Option<bool>,
    thought_signature: Option<String>,
    function_call: Option<FunctionCall>,
}

#[derive(Deserialize)]
struct FunctionCall {
    id: Option<String>,
    name: String,
    args: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    block_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireUsage {
    prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(wire: WireUsage) -> Usage {
        let reasoning = wire.thoughts_token_count.unwrap_or(0);
        Usage {
            input: wire.prompt_token_count.unwrap_or(0) + wire.tool_use_prompt_token_count.unwrap_or(0),
            output: wire.candidates_token_count.unwrap_or(0) + reasoning,
            cache_read: wire.cached_content_token_count.unwrap_or(0),
            cache_write: 0,
            reasoning,
        }
    }
}
