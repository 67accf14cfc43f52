//! A response as it is told.

use model::{NewMessage, ToolCall, Usage};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// An answer to input.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ResponseObject {
    /// `resp_…`
    pub id: String,
    pub object: &'static str,
    /// Unix seconds.
    pub created_at: i64,
    /// `in_progress`, `completed`, `incomplete` or `failed`.
    pub status: &'static str,
    /// Why it failed.
    pub error: Option<ResponseError>,
    /// Why it is incomplete.
    pub incomplete_details: Option<IncompleteDetails>,
    pub instructions: Option<String>,
    pub max_output_tokens: Option<u32>,
    /// As the request called it.
    pub model: String,
    pub output: Vec<OutputItem>,
    pub parallel_tool_calls: bool,
    pub previous_response_id: Option<String>,
    pub reasoning: ReasoningSettings,
    /// Whether it is kept.
    pub store: bool,
    pub temperature: Option<f64>,
    pub text: TextSettings,
    /// As the request says it; `auto` when it says nothing.
    pub tool_choice: Value,
    pub tools: Vec<Value>,
    pub top_p: Option<f64>,
    pub truncation: String,
    /// Absent until it is over.
    pub usage: Option<ResponseUsage>,
    pub user: Option<String>,
    pub metadata: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ResponseError {
    pub code: &'static str,
    pub message: String,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct IncompleteDetails {
    /// `max_output_tokens` or `content_filter`.
    pub reason: &'static str,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ReasoningSettings {
    pub effort: Option<String>,
    pub summary: Option<String>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct TextSettings {
    /// The form as the request says it; plain text when it says nothing.
    pub format: Value,
}

/// Tokens.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ResponseUsage {
    input_tokens: u64,
    input_tokens_details: InputTokens,
    output_tokens: u64,
    output_tokens_details: OutputTokens,
    total_tokens: u64,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct InputTokens {
    cached_tokens: u64,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct OutputTokens {
    reasoning_tokens: u64,
}

impl From<Usage> for ResponseUsage {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.input,
            input_tokens_details: InputTokens { cached_tokens: usage.cache_read },
            output_tokens: usage.output,
            output_tokens_details: OutputTokens { reasoning_tokens: usage.reasoning },
            total_tokens: usage.total(),
        }
    }
}

/// One thing that was answered.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputItem {
    Message {
        /// `msg_…`
        id: String,
        role: &'static str,
        /// `in_progress`, `completed` or `incomplete`.
        status: &'static str,
        content: Vec<OutputPart>,
    },
    /// A call that the client shall run.
    FunctionCall {
        /// `fc_…`
        id: String,
        /// What its result names.
        call_id: String,
        name: String,
        /// JSON text as the model wrote it.
        arguments: String,
        status: &'static str,
    },
    /// What the model thought, when the request asks for a summary.
    Reasoning {
        /// `rs_…`
        id: String,
        summary: Vec<SummaryPart>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputPart {
    OutputText {
        text: String,
        /// Always empty.
        annotations: Vec<Value>,
        /// Always empty.
        logprobs: Vec<Value>,
    },
}

impl OutputPart {
    pub fn text(text: String) -> Self {
        Self::OutputText { text, annotations: Vec::new(), logprobs: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum SummaryPart {
    SummaryText { text: String },
}

/// What became of a response.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeletedResponse {
    id: String,
    object: &'static str,
    deleted: bool,
}

impl DeletedResponse {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), object: "response", deleted: true }
    }
}

impl OutputItem {
    pub fn id(&self) -> &str {
        match self {
            Self::Message { id, .. } | Self::FunctionCall { id, .. } | Self::Reasoning { id, .. } => id,
        }
    }

    /// What it says in a conversation; reasoning says nothing there.
    fn message(&self) -> Option<NewMessage> {
        match self {
            Self::Message { content, .. } => {
                let texts = content.iter().map(|OutputPart::OutputText { text, .. }| text.as_str());
                Some(NewMessage::assistant(texts.collect::<String>()))
            }
            Self::FunctionCall { call_id, name, arguments, .. } => {
                let call = ToolCall { id: call_id.clone(), name: name.clone(), arguments: arguments.clone() };
                Some(NewMessage { tool_calls: vec![call], ..NewMessage::assistant("") })
            }
            Self::Reasoning { .. } => None,
        }
    }
}

impl ResponseObject {
    /// The output as one message of the conversation; `None` when it says nothing.
    pub fn message(&self) -> Option<NewMessage> {
        let (mut texts, mut calls) = (Vec::new(), Vec::new());
        for message in self.output.iter().filter_map(OutputItem::message) {
            let text = message.content.text();
            if !text.is_empty() {
                texts.push(text.into_owned());
            }
            calls.extend(message.tool_calls);
        }
        let is_silent = texts.is_empty() && calls.is_empty();
        (!is_silent).then(|| NewMessage { tool_calls: calls, ..NewMessage::assistant(texts.join("\n\n")) })
    }

    /// Each item by its id, as a request may refer to it.
    pub fn items(&self) -> Vec<(String, Option<NewMessage>)> {
        self.output.iter().map(|item| (item.id().to_owned(), item.message())).collect()
    }
}
