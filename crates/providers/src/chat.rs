//! A chat request and the stream that answers it, in words that fit every vendor.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
pub use model::ToolChoice;
use model::{NewMessage, Thinking, Usage};
use serde_json::{Map, Value};

use crate::error::ProviderError;

/// One call of a model. Each adapter says in its own module what its vendor lacks.
#[derive(Debug, Clone, Default)]
pub struct ChatRequest {
    /// The vendor's id of the model, without our provider prefix.
    pub model: String,
    /// System text first, then the conversation in order.
    pub messages: Vec<NewMessage>,
    pub tools: Vec<ToolSpec>,
    pub tool_choice: ToolChoice,
    /// `None` where the vendor allows only one call in an answer or has its own default.
    pub parallel_tool_calls: Option<bool>,
    /// `None` = the vendor's own default.
    pub thinking: Option<Thinking>,
    pub sampling: Sampling,
    pub response_format: Option<ResponseFormat>,
    /// Further fields for the vendor's body, put in as they are.
    pub extra: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON Schema of the arguments, an object.
    pub parameters: Arc<Value>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    /// Tokens of the answer, reasoning included.
    pub max_output_tokens: Option<u32>,
    /// At most four.
    pub stop: Vec<String>,
    pub seed: Option<i64>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ResponseFormat {
    JsonObject,
    JsonSchema { name: String, schema: Value, strict: bool },
}

/// One piece of an answer.
///
/// A well-formed stream has any number of deltas, at most one `Usage` (adapters sum up what the
/// vendor sends in parts), then exactly one `Finish`, last. A stream that ends without `Finish`
/// must instead yield an error of kind [`Cut`](crate::ProviderErrorKind::Cut).
#[derive(Debug, Clone, PartialEq)]
pub enum Chunk {
    Text(String),
    /// Reasoning text to show.
    Reasoning(String),
    /// A vendor's opaque reasoning block, to be sent back unchanged with the next request.
    ReasoningBlock(Value),
    /// A tool call begins. `index` counts the calls of one answer from 0; `id` is never empty.
    ToolCall {
        index: usize,
        id: String,
        name: String,
    },
    /// More of the JSON text of the call's arguments.
    ToolArguments {
        index: usize,
        text: String,
    },
    Usage(Usage),
    Finish(FinishReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
}

/// Dropping the stream closes the connection to the vendor.
pub type ChatStream = Pin<Box<dyn Stream<Item = Result<Chunk, ProviderError>> + Send>>;
