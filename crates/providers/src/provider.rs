//! The trait that every vendor adapter implements.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::chat::{ChatRequest, ChatStream};
use crate::error::{ProviderError, ProviderErrorKind};

/// One configured account at one vendor, or the embedded model.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The name it has in the configuration, the part of `provider/model` before the slash.
    fn name(&self) -> &str;

    /// The wire it speaks, as `kind` in the configuration: `openai`, `anthropic`, `local` …
    fn kind(&self) -> &'static str;

    /// Starts an answer. Returns once the vendor has accepted the request (its status is known);
    /// failures after that come through the stream.
    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ProviderError>;

    /// The models that the vendor lists, with what is known of them; configured ones included.
    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError>;

    /// The models that are offered even when the vendor cannot be asked.
    fn configured_models(&self) -> Vec<ModelInfo> {
        Vec::new()
    }

    /// What is known of a model without asking the vendor; used where a list cannot be waited for.
    fn describe(&self, model: &str) -> ModelInfo;

    /// One vector for each input, in order.
    async fn embed(&self, model: &str, _inputs: &[String]) -> Result<Embeddings, ProviderError> {
        Err(ProviderError::new(
            self.name(),
            ProviderErrorKind::Unsupported,
            format!("`{}` gives no embeddings with `{model}`", self.name()),
        ))
    }

    /// Whether [`Provider::forward`] works: the vendor speaks OpenAI chat completions itself.
    fn forwards_openai(&self) -> bool {
        false
    }

    /// Sends an OpenAI-shaped body to `path` (`/chat/completions`) and hands back the raw answer,
    /// whatever its status. Dropping the body closes the connection.
    async fn forward(&self, _path: &str, _body: Bytes) -> Result<Forwarded, ProviderError> {
        Err(ProviderError::new(
            self.name(),
            ProviderErrorKind::Unsupported,
            "this provider cannot pass requests through",
        ))
    }
}

/// A vendor's HTTP answer, not looked into.
pub struct Forwarded {
    pub status: u16,
    pub content_type: Option<String>,
    /// The `Retry-After` header as sent.
    pub retry_after: Option<String>,
    pub content_length: Option<u64>,
    pub body: BoxStream<'static, Result<Bytes, ProviderError>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    pub vectors: Vec<Vec<f32>>,
    /// The model that made them.
    pub model: String,
    /// Tokens read, when the vendor tells.
    pub input_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    pub chat: bool,
    pub vision: bool,
    pub tools: bool,
    pub thinking: bool,
    pub streaming: bool,
    pub embeddings: bool,
}

impl Capabilities {
    pub const CHAT: Capabilities =
        Capabilities { chat: true, vision: false, tools: true, thinking: false, streaming: true, embeddings: false };

    /// The capabilities as words, in the order of the published Aleph API.
    pub fn words(self) -> Vec<&'static str> {
        [
            (self.chat, "chat"),
            (self.vision, "vision"),
            (self.tools, "tools"),
            (self.thinking, "thinking"),
            (self.streaming, "streaming"),
            (self.embeddings, "embeddings"),
        ]
        .into_iter()
        .filter_map(|(has, word)| has.then_some(word))
        .collect()
    }
}

/// Where the knowledge of a model comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelSource {
    /// The vendor's list.
    Api,
    /// Our own table of well-known models.
    Preset,
    /// The configuration.
    Config,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// The vendor's id.
    pub id: String,
    pub name: String,
    pub capabilities: Capabilities,
    /// Tokens of input and output together, when known.
    pub context_window: Option<u32>,
    pub max_output_tokens: Option<u32>,
    pub source: ModelSource,
    /// A sentence that interfaces must show beside the model, for instance that it is a demonstration.
    pub notice: Option<String>,
}
