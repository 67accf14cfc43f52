//! OpenAI responses.
//!
//! Nothing is stored at the vendor: the whole conversation goes along each time, and reasoning items
//! come back encrypted, are kept as blocks and are sent again. The wire has no stop sequences, seed
//! or penalties; they are left out.

pub(crate) mod decode;
mod request;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::calls::CallIds;
use crate::chat::{ChatRequest, ChatStream};
use crate::error::ProviderError;
use crate::framing::SseParser;
use crate::http::Upstream;
use crate::http::upstream::KeyHeader;
use crate::known::KnownModels;
use crate::provider::{ModelInfo, Provider};
use crate::settings::ProviderSettings;
use crate::stream::{Framing, decode};

/// One account at a vendor of this wire.
pub struct OpenAiResponses {
    upstream: Arc<Upstream>,
    known: KnownModels,
    discover: bool,
}

impl OpenAiResponses {
    /// Fails when a URL, a header or the key cannot be used.
    pub fn new(name: &str, settings: &ProviderSettings) -> Result<Self, String> {
        let upstream = Upstream::new(name, settings, settings.effective_base_url(), KeyHeader::Bearer, &[])?;
        Ok(Self {
            upstream: Arc::new(upstream),
            known: KnownModels::new(&settings.models),
            discover: settings.discover,
        })
    }
}

#[async_trait]
impl Provider for OpenAiResponses {
    fn name(&self) -> &str {
        &self.upstream.name
    }

    fn kind(&self) -> &'static str {
        "openai-responses"
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        let thinks = self.known.describe(&request.model).capabilities.thinking;
        let url = self.upstream.url("/responses")?;
        let post = self.upstream.post_json(url, &request::body(&request, thinks));
        let response = self.upstream.send_accepted(post).await?;
        let decoder = decode::Decoder::new(CallIds::of(&request));
        Ok(decode(Arc::clone(&self.upstream), response, Framing::Sse(SseParser::default()), decoder))
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        if !self.discover {
            return Ok(self.known.configured());
        }
        let list: Value = self.upstream.list("/models").await?;
        Ok(self.known.merge(crate::openai::listed(&list)))
    }

    fn configured_models(&self) -> Vec<ModelInfo> {
        self.known.configured()
    }

    fn describe(&self, model: &str) -> ModelInfo {
        self.known.describe(model)
    }
}

#[cfg(test)]
mod tests;
