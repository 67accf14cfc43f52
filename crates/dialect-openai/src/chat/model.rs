//! Calls of a model whose provider speaks another wire.

use futures_util::StreamExt;
use model::{ModelRef, NewMessage, Usage};
use providers::{ChatRequest, ChatStream, Chunk, FinishReason, ResponseFormat};
use services::Services;

use super::format::Format;
use super::pieces::{Ended, Piece, Pieces};
use super::request::Request;
use crate::errors::ApiError;

/// Whether providers of this kind know no such form, so that the model itself must be told.
pub(crate) fn must_be_told(provider_kind: &str, format: &Format) -> bool {
    provider_kind == "anthropic" && format.wire == ResponseFormat::JsonObject
}

/// Opens one answer. Returns with its first piece at hand; a failure until then has the vendor's
/// status. Transient failures are tried again by the router, as for any model without fallbacks.
pub(crate) async fn open(
    services: &Services,
    model: &ModelRef,
    request: &Request,
    told: Option<&Format>,
) -> Result<Pieces, ApiError> {
    let make_request = |model: &ModelRef| chat_request(model, request, told);
    let candidates = std::slice::from_ref(model);
    let opened = services.models.router().open(candidates, make_request, services.lifecycle.stopping()).await?;
    let prompt: u64 = request.messages.iter().map(NewMessage::token_estimate).sum();
    Ok(pieces(opened.stream, prompt))
}

fn chat_request(model: &ModelRef, request: &Request, told: Option<&Format>) -> ChatRequest {
    let mut messages = request.messages.clone();
    if let Some(format) = told {
        messages.insert(0, NewMessage::system(format.words()));
    }
    ChatRequest {
        model: model.model.as_ref().to_owned(),
        messages,
        tools: request.tools.clone(),
        tool_choice: request.tool_choice.clone(),
        parallel_tool_calls: request.parallel_tool_calls,
        thinking: request.thinking,
        sampling: request.sampling.clone(),
        response_format: request.format.as_ref().filter(|_| told.is_none()).map(|format| format.wire.clone()),
        ..ChatRequest::default()
    }
}

/// `prompt` is an estimate of the conversation's tokens, for vendors that do not count.
fn pieces(mut stream: ChatStream, prompt: u64) -> Pieces {
    async_stream::stream! {
        let (mut usage, mut chars) = (None, 0);
        while let Some(chunk) = stream.next().await {
            let piece = match chunk {
                Ok(Chunk::Text(text)) => {
                    chars += text.chars().count() as u64;
                    Piece::Text(text)
                }
                Ok(Chunk::Reasoning(text)) => {
                    chars += text.chars().count() as u64;
                    Piece::Reasoning(text)
                }
                Ok(Chunk::ReasoningBlock(_)) => continue,
                Ok(Chunk::ToolCall { index, id, name }) => Piece::Call { index, id, name },
                Ok(Chunk::ToolArguments { index, text }) => {
                    chars += text.chars().count() as u64;
                    Piece::Arguments { index, text }
                }
                Ok(Chunk::Usage(told)) => {
                    usage = Some(told);
                    continue;
                }
                Ok(Chunk::Finish(reason)) => {
                    let estimate = || Usage { input: prompt, output: chars.div_ceil(4), ..Usage::default() };
                    let usage = usage.unwrap_or_else(estimate);
                    yield Ok(Piece::End(Ended { finish: finish(reason), usage, text: None }));
                    return;
                }
                Err(error) => {
                    yield Err(error.into());
                    return;
                }
            };
            yield Ok(piece);
        }
    }
    .boxed()
}

const fn finish(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}
