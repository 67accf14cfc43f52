//! Ollama's own wire, which knows more of its models than its OpenAI-compatible one.
//!
//! The context that Ollama gives a model by default is small and it cuts silently; a configured
//! `context_window` is therefore sent along. Pictures must be inline; sounds and files that are not
//! text are left out, and a choice of tool has no place in this wire.

pub(crate) mod decode;
mod request;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::calls::CallIds;
use crate::chat::{ChatRequest, ChatStream};
use crate::error::ProviderError;
use crate::framing::LineParser;
use crate::http::Upstream;
use crate::http::upstream::KeyHeader;
use crate::known::{KnownModels, Listed};
use crate::provider::{Embeddings, ModelInfo, Provider};
use crate::settings::ProviderSettings;
use crate::stream::{Framing, decode};

/// Models whose details are asked for at once; Ollama reads a file for each.
const SHOW_CONCURRENCY: usize = 4;
/// Time for the details of all models together.
const SHOW_LIMIT: Duration = Duration::from_secs(10);
/// Models whose details are asked for at all.
const SHOW_MAX: usize = 200;
/// Inputs of one request for embeddings.
const EMBED_BATCH: usize = 128;

/// One Ollama.
pub struct Ollama {
    upstream: Arc<Upstream>,
    known: KnownModels,
    discover: bool,
}

impl Ollama {
    /// The base URL may end in `/v1` or `/api`. Fails when a URL, a header or the key cannot be used.
    pub fn new(name: &str, settings: &ProviderSettings) -> Result<Self, String> {
        let base_url = settings.effective_base_url();
        let base_url = base_url.strip_suffix("/v1").or_else(|| base_url.strip_suffix("/api")).unwrap_or(base_url);
        let upstream = Upstream::new(name, settings, base_url, KeyHeader::Bearer, &[])?;
        Ok(Self {
            upstream: Arc::new(upstream),
            known: KnownModels::new(&settings.models),
            discover: settings.discover,
        })
    }

    /// What `/api/show` says of a model before `deadline`; the bare id when it says nothing.
    async fn show(&self, id: String, deadline: Instant) -> Listed {
        let answer = async {
            let url = self.upstream.url("/api/show")?;
            self.upstream.fetch::<Shown>(self.upstream.post_json(url, &json!({ "model": id }))).await
        };
        let answer = tokio::time::timeout_at(deadline, answer).await;
        match answer.unwrap_or_else(|_| Err(self.upstream.silent(SHOW_LIMIT))) {
            Ok(shown) => shown.listed(id),
            Err(error) => {
                tracing::debug!(provider = %self.upstream.name, model = %id, %error, "no details of a model");
                Listed { id, ..Listed::default() }
            }
        }
    }
}

#[async_trait]
impl Provider for Ollama {
    fn name(&self) -> &str {
        &self.upstream.name
    }

    fn kind(&self) -> &'static str {
        "ollama"
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        let thinks = self.known.describe(&request.model).capabilities.thinking;
        let window = self.known.configured_window(&request.model);
        let url = self.upstream.url("/api/chat")?;
        let post = self.upstream.post_json(url, &request::body(&request, thinks, window));
        let response = self.upstream.send_accepted(post).await?;
        let decoder = decode::Decoder::new(CallIds::of(&request));
        Ok(decode(Arc::clone(&self.upstream), response, Framing::Lines(LineParser::default()), decoder))
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        if !self.discover {
            return Ok(self.known.configured());
        }
        let tags: Tags = self.upstream.list("/api/tags").await?;
        let ids = tags.models.into_iter().take(SHOW_MAX).map(|tag| tag.name);
        let deadline = Instant::now() + SHOW_LIMIT;
        let shown = futures_util::stream::iter(ids).map(|id| self.show(id, deadline)).buffered(SHOW_CONCURRENCY);
        let listed = shown.collect().await;
        Ok(self.known.merge(listed))
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
            let url = self.upstream.url("/api/embed")?;
            let post = self.upstream.post_json(url, &json!({ "model": model, "input": batch }));
            let answer: EmbeddingList = self.upstream.fetch(post).await?;
            crate::embedding::check_count(&self.upstream, answer.embeddings.len(), batch.len())?;
            all.vectors.extend(answer.embeddings);
            all.input_tokens = all.input_tokens.zip(answer.prompt_eval_count).map(|(sum, more)| sum + more);
        }
        Ok(all)
    }
}

#[derive(Deserialize)]
struct EmbeddingList {
    embeddings: Vec<Vec<f32>>,
    prompt_eval_count: Option<u64>,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

#[derive(Deserialize)]
struct Shown {
    /// Missing in older versions.
    capabilities: Option<Vec<String>>,
    #[serde(default)]
    model_info: Map<String, Value>,
}

impl Shown {
    fn listed(self, id: String) -> Listed {
        let can = |word: &str| self.capabilities.as_ref().map(|words| words.iter().any(|known| known == word));
        // `llama.context_length`, `qwen3.context_length` …: the first part is the architecture.
        let context = self.model_info.iter().find(|(key, _)| key.ends_with(".context_length"));
        Listed {
            context_window: context
                .and_then(|(_, length)| length.as_u64())
                .and_then(|length| u32::try_from(length).ok()),
            chat: can("completion"),
            vision: can("vision"),
            tools: can("tools"),
            thinking: can("thinking"),
            embeddings: can("embedding"),
            id,
            ..Listed::default()
        }
    }
}

#[cfg(test)]
mod tests;
