//! OpenAI chat completions, and every vendor that speaks them at a base URL of its own.
//!
//! Pictures, sounds and files go along as the wire has them; a picture in a tool's result follows it
//! as a message of the user, because tool messages hold only text. Opaque reasoning blocks do not
//! exist here, and reasoning text is not sent back.

pub(crate) mod decode;
mod request;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::calls::CallIds;
use crate::chat::{ChatRequest, ChatStream};
use crate::error::ProviderError;
use crate::framing::SseParser;
use crate::http::upstream::KeyHeader;
use crate::http::{Endpoint, Upstream, timed_body};
use crate::known::{KnownModels, Listed};
use crate::provider::{Embeddings, Forwarded, ModelInfo, Provider};
use crate::settings::ProviderSettings;
use crate::stream::{Framing, decode};

const CHAT_PATH: &str = "/chat/completions";
/// Inputs of one request for embeddings; vendors take at least so many.
const EMBED_BATCH: usize = 256;

/// One account at a vendor of this wire.
pub struct OpenAi {
    upstream: Arc<Upstream>,
    known: KnownModels,
    discover: bool,
    chat: Endpoint,
    /// OpenAI's own models refuse `max_tokens`, most others know nothing else.
    names_completion_tokens: bool,
}

impl OpenAi {
    /// Fails when a URL, a header or the key cannot be used.
    pub fn new(name: &str, settings: &ProviderSettings) -> Result<Self, String> {
        let upstream = Upstream::new(name, settings, settings.effective_base_url(), KeyHeader::Bearer, &[])?;
        let chat = upstream.endpoint(CHAT_PATH).map_err(|error| error.message)?;
        let host = chat.host();
        Ok(Self {
            names_completion_tokens: host.ends_with("openai.com") || host.ends_with("openai.azure.com"),
            upstream: Arc::new(upstream),
            known: KnownModels::new(&settings.models),
            discover: settings.discover,
            chat,
        })
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn name(&self) -> &str {
        &self.upstream.name
    }

    fn kind(&self) -> &'static str {
        "openai"
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        let thinks = self.known.describe(&request.model).capabilities.thinking;
        let body = request::body(&request, thinks, self.names_completion_tokens);
        let response = self.upstream.call_json(&self.chat, &body).await?;
        let decoder = decode::Decoder::new(CallIds::of(&request));
        Ok(decode(Arc::clone(&self.upstream), response, Framing::Sse(SseParser::default()), decoder))
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        if !self.discover {
            return Ok(self.known.configured());
        }
        let list: Value = self.upstream.list("/models").await?;
        Ok(self.known.merge(listed(&list)))
    }

    fn configured_models(&self) -> Vec<ModelInfo> {
        self.known.configured()
    }

    fn describe(&self, model: &str) -> ModelInfo {
        self.known.describe(model)
    }

    async fn embed(&self, model: &str, inputs: &[String]) -> Result<Embeddings, ProviderError> {
        let mut all =
            Embeddings { vectors: Vec::with_capacity(inputs.len()), model: model.to_owned(), input_tokens: Some(0) };
        for batch in inputs.chunks(EMBED_BATCH) {
            let url = self.upstream.url("/embeddings")?;
            let body = json!({ "model": model, "input": batch, "encoding_format": "float" });
            let mut answer: EmbeddingList = self.upstream.fetch(self.upstream.post_json(url, &body)).await?;
            answer.data.sort_by_key(|entry| entry.index);
            crate::embedding::check_count(&self.upstream, answer.data.len(), batch.len())?;
            all.vectors.extend(answer.data.into_iter().map(|entry| entry.embedding));
            let tokens = answer.usage.and_then(|usage| usage.prompt_tokens);
            all.input_tokens = all.input_tokens.zip(tokens).map(|(sum, more)| sum + more);
        }
        Ok(all)
    }

    fn forwards_openai(&self) -> bool {
        true
    }

    async fn forward(&self, path: &str, body: Bytes) -> Result<Forwarded, ProviderError> {
        let response = match path {
            CHAT_PATH => self.upstream.call(&self.chat, body).await?,
            _ => self.upstream.call(&self.upstream.endpoint(path)?, body).await?,
        };
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (status, content_type, retry_after) = (response.status(), header(CONTENT_TYPE), header(RETRY_AFTER));
        let content_length = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let (content_length, body) = if status.is_success() {
            (content_length, timed_body(Arc::clone(&self.upstream), response).boxed())
        } else {
            // A refusal may repeat the key that was refused.
            let body = Bytes::from(self.upstream.refusal_body(response).await);
            (Some(body.len() as u64), futures_util::stream::iter([Ok(body)]).boxed())
        };
        Ok(Forwarded { status: status.as_u16(), content_type, retry_after, content_length, body })
    }
}

#[derive(Deserialize)]
struct EmbeddingList {
    data: Vec<EmbeddingEntry>,
    usage: Option<EmbeddingUsage>,
}

#[derive(Deserialize)]
struct EmbeddingEntry {
    #[serde(default)]
    index: u64,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct EmbeddingUsage {
    prompt_tokens: Option<u64>,
}

/// `{"data": [{"id", …}]}`, a bare array from some; the fields beside `id` are what OpenRouter, Groq,
/// Mistral and vLLM add.
pub(crate) fn listed(list: &Value) -> Vec<Listed> {
    let entries = list.get("data").unwrap_or(list).as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().filter_map(listed_model).collect()
}

fn listed_model(entry: &Value) -> Option<Listed> {
    let number = |pointer: &str| entry.pointer(pointer).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let flag = |pointer: &str| entry.pointer(pointer).and_then(Value::as_bool);
    let holds = |pointer: &str, word: &str| {
        entry.pointer(pointer).and_then(Value::as_array).map(|words| words.iter().any(|w| w.as_str() == Some(word)))
    };
    Some(Listed {
        id: entry.get("id")?.as_str().filter(|id| !id.is_empty())?.to_owned(),
        name: entry.get("name").and_then(Value::as_str).map(str::to_owned),
        context_window: ["/context_length", "/context_window", "/max_context_length", "/max_model_len"]
            .into_iter()
            .find_map(number),
        max_output_tokens: ["/top_provider/max_completion_tokens", "/max_completion_tokens"]
            .into_iter()
            .find_map(number),
        chat: flag("/capabilities/completion_chat"),
        vision: holds("/architecture/input_modalities", "image").or(flag("/capabilities/vision")),
        tools: holds("/supported_parameters", "tools").or(flag("/capabilities/function_calling")),
        thinking: holds("/supported_parameters", "reasoning"),
        embeddings: None,
    })
}

#[cfg(test)]
mod tests;
