//! Anthropic messages.
//!
//! Signed thinking blocks are kept as they come and sent back first in their message, as the vendor
//! wants. The wire has no seed, penalties or bare JSON mode; they are left out, and so are sounds.

pub(crate) mod decode;
mod request;
mod thinking;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use crate::calls::CallIds;
use crate::chat::{ChatRequest, ChatStream};
use crate::error::ProviderError;
use crate::framing::SseParser;
use crate::http::Upstream;
use crate::http::upstream::KeyHeader;
use crate::known::{KnownModels, Listed};
use crate::provider::{ModelInfo, Provider};
use crate::settings::ProviderSettings;
use crate::stream::{Framing, decode};

const VERSION: &str = "2023-06-01";

/// One account at a vendor of this wire.
pub struct Anthropic {
    upstream: Arc<Upstream>,
    known: KnownModels,
    discover: bool,
}

impl Anthropic {
    /// The base URL may or may not end in `/v1`. Fails when a URL, a header or the key cannot be used.
    pub fn new(name: &str, settings: &ProviderSettings) -> Result<Self, String> {
        let base_url = settings.effective_base_url();
        let base_url = base_url.strip_suffix("/v1").unwrap_or(base_url);
        let fixed = [("anthropic-version", VERSION)];
        let upstream = Upstream::new(name, settings, base_url, KeyHeader::Plain("x-api-key"), &fixed)?;
        Ok(Self {
            upstream: Arc::new(upstream),
            known: KnownModels::new(&settings.models),
            discover: settings.discover,
        })
    }
}

#[async_trait]
impl Provider for Anthropic {
    fn name(&self) -> &str {
        &self.upstream.name
    }

    fn kind(&self) -> &'static str {
        "anthropic"
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        let body = request::body(&request, &self.known.describe(&request.model));
        let url = self.upstream.url("/v1/messages")?;
        let response = self.upstream.send_accepted(self.upstream.post_json(url, &body)).await?;
        let decoder = decode::Decoder::new(CallIds::of(&request));
        Ok(decode(Arc::clone(&self.upstream), response, Framing::Sse(SseParser::default()), decoder))
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        if !self.discover {
            return Ok(self.known.configured());
        }
        // One page of the largest size: no account has more models than that.
        let list: ModelList = self.upstream.list("/v1/models?limit=1000").await?;
        let listed = list.data.into_iter().map(|entry| Listed {
            id: entry.id,
            name: entry.display_name,
            context_window: entry.max_input_tokens,
            max_output_tokens: entry.max_tokens,
            ..Listed::default()
        });
        Ok(self.known.merge(listed.collect()))
    }

    fn configured_models(&self) -> Vec<ModelInfo> {
        self.known.configured()
    }

    fn describe(&self, model: &str) -> ModelInfo {
        self.known.describe(model)
    }
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<ModelEntry>,
}

#[derive(Deserialize)]
struct ModelEntry {
    id: String,
    display_name: Option<String>,
    max_input_tokens: Option<u32>,
    max_tokens: Option<u32>,
}

#[cfg(test)]
mod tests;
