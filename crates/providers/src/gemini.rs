//! Google Gemini, over `streamGenerateContent`.
//!
//! Calls have no ids that must be kept, so we make our own; results are matched by the name of the
//! function. Signatures of thoughts belong to a call or to the text: each is kept as a block that
//! says to which (see [`signature`]), and is put back there.

pub(crate) mod decode;
mod request;
pub(crate) mod signature;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::calls::CallIds;
use crate::chat::{ChatRequest, ChatStream};
use crate::error::{ProviderError, ProviderErrorKind};
use crate::framing::SseParser;
use crate::http::Upstream;
use crate::http::upstream::KeyHeader;
use crate::known::{KnownModels, Listed};
use crate::provider::{Embeddings, ModelInfo, Provider};
use crate::settings::ProviderSettings;
use crate::stream::{Framing, decode};

/// Inputs of one request for embeddings, as many as the vendor takes.
const EMBED_BATCH: usize = 100;

/// One account at a vendor of this wire.
pub struct Gemini {
    upstream: Arc<Upstream>,
    known: KnownModels,
    discover: bool,
}

impl Gemini {
    /// Fails when a URL, a header or the key cannot be used.
    pub fn new(name: &str, settings: &ProviderSettings) -> Result<Self, String> {
        // In a header, because a key in the URL would end up in logs.
        let key = KeyHeader::Plain("x-goog-api-key");
        let upstream = Upstream::new(name, settings, settings.effective_base_url(), key, &[])?;
        Ok(Self {
            upstream: Arc::new(upstream),
            known: KnownModels::new(&settings.models),
            discover: settings.discover,
        })
    }

    fn resource(&self, model: &str) -> Result<String, ProviderError> {
        let message = || format!("`{model}` cannot be the id of a model");
        resource(model).ok_or_else(|| self.upstream.error(ProviderErrorKind::ModelNotFound, message()))
    }
}

/// `models/x`, whether or not the id says so already; other collections (`tunedModels/x`) stay.
/// `None` when the id could lead to another place of the API: it becomes a part of the path.
fn resource(model: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if model.is_empty() || model.contains("..") || !model.chars().all(is_plain) {
        return None;
    }
    Some(if model.contains('/') { model.to_owned() } else { format!("models/{model}") })
}

#[async_trait]
impl Provider for Gemini {
    fn name(&self) -> &str {
        &self.upstream.name
    }

    fn kind(&self) -> &'static str {
        "gemini"
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        let thinks = self.known.describe(&request.model).capabilities.thinking;
        let resource = self.resource(&request.model)?;
        let url = self.upstream.url(&format!("/{resource}:streamGenerateContent?alt=sse"))?;
        let post = self.upstream.post_json(url, &request::body(&request, thinks));
        let response = self.upstream.send_accepted(post).await?;
        let decoder = decode::Decoder::new(CallIds::of(&request));
        Ok(decode(Arc::clone(&self.upstream), response, Framing::Sse(SseParser::default()), decoder))
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        if !self.discover {
            return Ok(self.known.configured());
        }
        // One page of the largest size: the vendor lists some fifty.
        let list: ModelList = self.upstream.list("/models?pageSize=1000").await?;
        Ok(self.known.merge(list.models.into_iter().map(Listed::from).collect()))
    }

    fn configured_models(&self) -> Vec<ModelInfo> {
        self.known.configured()
    }

    fn describe(&self, model: &str) -> ModelInfo {
        self.known.describe(model)
    }

    async fn embed(&self, model: &str, inputs: &[String]) -> Result<Embeddings, ProviderError> {
        let resource = self.resource(model)?;
        let mut vectors = Vec::with_capacity(inputs.len());
        for batch in inputs.chunks(EMBED_BATCH) {
            let url = self.upstream.url(&format!("/{resource}:batchEmbedContents"))?;
            let requests: Vec<Value> = batch
                .iter()
                .map(|text| json!({ "model": resource, "content": { "parts": [{ "text": text }] } }))
                .collect();
            let post = self.upstream.post_json(url, &json!({ "requests": requests }));
            let answer: EmbeddingList = self.upstream.fetch(post).await?;
            crate::embedding::check_count(&self.upstream, answer.embeddings.len(), batch.len())?;
            vectors.extend(answer.embeddings.into_iter().map(|entry| entry.values));
        }
        Ok(Embeddings { vectors, model: model.to_owned(), input_tokens: None })
    }
}

#[derive(Deserialize)]
struct EmbeddingList {
    embeddings: Vec<EmbeddingEntry>,
}

#[derive(Deserialize)]
struct EmbeddingEntry {
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct ModelList {
    #[serde(default)]
    models: Vec<ModelEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelEntry {
    name: String,
    display_name: Option<String>,
    input_token_limit: Option<u32>,
    output_token_limit: Option<u32>,
    #[serde(default)]
    supported_generation_methods: Vec<String>,
    thinking: Option<bool>,
}

impl From<ModelEntry> for Listed {
    fn from(entry: ModelEntry) -> Listed {
        let methods = &entry.supported_generation_methods;
        let can = |method: &str| (!methods.is_empty()).then(|| methods.iter().any(|known| known == method));
        Listed {
            id: entry.name.strip_prefix("models/").unwrap_or(&entry.name).to_owned(),
            name: entry.display_name,
            context_window: entry.input_token_limit,
            max_output_tokens: entry.output_token_limit,
            chat: can("generateContent"),
            thinking: entry.thinking,
            embeddings: can("embedContent"),
            ..Listed::default()
        }
    }
}

#[cfg(test)]
mod tests;
