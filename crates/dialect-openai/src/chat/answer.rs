//! Answers in one piece.

use futures_util::StreamExt;
use model::{ToolCall, Usage};
use schemars::JsonSchema;
use serde::Serialize;

use super::head::Head;
use super::pieces::{Piece, Pieces};
use crate::errors::ApiError;

/// One answer, read to its end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub text: String,
    pub calls: Vec<ToolCall>,
    pub finish: &'static str,
    pub usage: Usage,
}

impl Answer {
    pub async fn read(mut pieces: Pieces) -> Result<Self, ApiError> {
        let (mut text, mut calls) = (String::new(), Vec::<ToolCall>::new());
        while let Some(piece) = pieces.next().await {
            match piece? {
                Piece::Text(more) => text.push_str(&more),
                // Never told as content, and a completion has no other place for it.
                Piece::Reasoning(_) => {}
                Piece::Call { id, name, .. } => calls.push(ToolCall { id, name, arguments: String::new() }),
                Piece::Arguments { index, text } => {
                    if let Some(call) = calls.get_mut(index) {
                        call.arguments.push_str(&text);
                    }
                }
                Piece::End(ended) => {
                    let text = ended.text.unwrap_or(text);
                    return Ok(Self { text, calls, finish: ended.finish, usage: ended.usage });
                }
            }
        }
        tracing::error!("an answer ended without saying so");
        Err(ApiError::internal())
    }
}

/// An answer to a conversation.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChatCompletion {
    /// `chatcmpl-…`
    id: String,
    object: &'static str,
    /// Unix seconds.
    created: i64,
    /// As the request called it.
    model: String,
    choices: Vec<ChatChoice>,
    usage: CompletionUsage,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ChatChoice {
    index: usize,
    message: ChatMessage,
    logprobs: Option<()>,
    /// `stop`, `length`, `tool_calls`, `function_call` or `content_filter`.
    finish_reason: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ChatMessage {
    role: &'static str,
    /// Absent beside calls.
    content: Option<String>,
    refusal: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ChatToolCall>,
    /// The form before tools, for requests that speak it.
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ChatToolCall {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: FunctionCall,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FunctionCall {
    name: String,
    /// JSON text as the model wrote it.
    arguments: String,
}

/// Tokens.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CompletionUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptTokens,
    completion_tokens_details: CompletionTokens,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PromptTokens {
    cached_tokens: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct CompletionTokens {
    reasoning_tokens: u64,
}

impl From<Usage> for CompletionUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.input,
            completion_tokens: usage.output,
            total_tokens: usage.total(),
            prompt_tokens_details: PromptTokens { cached_tokens: usage.cache_read },
            completion_tokens_details: CompletionTokens { reasoning_tokens: usage.reasoning },
        }
    }
}

impl ChatCompletion {
    pub fn new(head: &Head, answers: Vec<Answer>, names_functions: bool) -> Self {
        let usage = answers.iter().fold(Usage::default(), |sum, answer| sum.plus(answer.usage));
        let choices =
            answers.into_iter().enumerate().map(|(index, answer)| ChatChoice::new(index, answer, names_functions));
        Self {
            id: head.id.clone(),
            object: "chat.completion",
            created: head.created,
            model: head.model.clone(),
            choices: choices.collect(),
            usage: usage.into(),
        }
    }
}

impl ChatChoice {
    fn new(index: usize, answer: Answer, names_functions: bool) -> Self {
        let finish_reason = finish_word(answer.finish, names_functions);
        let content = (!answer.text.is_empty() || answer.calls.is_empty()).then_some(answer.text);
        let mut calls = answer.calls.into_iter().map(|call| ChatToolCall {
            id: call.id,
            kind: "function",
            function: FunctionCall { name: call.name, arguments: call.arguments },
        });
        // The form before tools knows one call.
        let function_call = if names_functions { calls.next().map(|call| call.function) } else { None };
        let tool_calls = if names_functions { Vec::new() } else { calls.collect() };
        let message = ChatMessage { role: "assistant", content, refusal: None, tool_calls, function_call };
        Self { index, message, logprobs: None, finish_reason }
    }
}

/// The finish reason in the words of the request.
pub(super) fn finish_word(finish: &'static str, names_functions: bool) -> &'static str {
    if finish == "tool_calls" && names_functions { "function_call" } else { finish }
}
