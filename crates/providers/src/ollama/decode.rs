//! The lines of `/api/chat`.

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

    fn message(&mut self, message: Message, out: &mut Vec<Chunk>) {
        out.extend(message.thinking.filter(|text| !text.is_empty()).map(Chunk::Reasoning));
        out.extend(message.content.filter(|text| !text.is_empty()).map(Chunk::Text));
        for call in message.tool_calls.into_iter().flatten() {
            let arguments = match call.function.arguments {
                None | Some(Value::Null) => "{}".to_owned(),
                Some(Value::String(text)) => text,
                Some(arguments) => arguments.to_string(),
            };
            self.calls.whole(call.id.as_deref(), &call.function.name, &arguments, out);
        }
    }
}

impl crate::stream::Decoder for Decoder {
    fn event(&mut self, payload: &[u8], out: &mut Vec<Chunk>) -> Result<(), Fault> {
        let line: Line = read_json(payload, "a line")?;
        if line.error.is_some() {
            let value: Value = read_json(payload, "a line")?;
            return Err(refusal::in_stream(&value));
        }
        if let Some(message) = line.message {
            self.message(message, out);
        }
        if line.done {
            let reason = match line.done_reason.as_deref() {
                Some("length") => FinishReason::Length,
                _ if !self.calls.is_empty() => FinishReason::ToolCalls,
                _ => FinishReason::Stop,
            };
            self.calls.close(out)?;
            if line.prompt_eval_count.is_some() || line.eval_count.is_some() {
                // The vendor counts the prompt and the answer, and nothing finer.
                let usage = Usage {
                    input: line.prompt_eval_count.unwrap_or(0),
                    output: line.eval_count.unwrap_or(0),
                    ..Usage::default()
                };
                out.push(Chunk::Usage(usage));
            }
            out.push(Chunk::Finish(reason));
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<Chunk>) -> Result<(), Fault> {
        Err(Fault::cut("the answer ended before it was done"))
    }
}

#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: Option<Value>,
}
