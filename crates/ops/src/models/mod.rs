//! The models of all providers.

pub mod capabilities;
pub mod get;
pub mod list;

use providers::ModelSource;
use schemars::JsonSchema;
use serde::Serialize;
use services::models::ModelEntry;

/// A model of a configured provider.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ModelView {
    /// `provider/id`.
    pub id: String,
    /// The same as `id`.
    pub model_id: String,
    pub name: String,
    pub provider: String,
    /// `openai`, `openai-responses`, `anthropic`, `gemini`, `ollama` or `local`.
    pub provider_type: &'static str,
    pub enabled: bool,
    pub is_default: bool,
    pub is_current: bool,
    /// Of `chat`, `vision`, `tools`, `thinking`, `streaming`, `embeddings`.
    pub capabilities: Vec<&'static str>,
    /// `api`, `preset` or `config`.
    pub source: &'static str,
    /// Tokens.
    pub context_window: Option<u32>,
    /// Tokens.
    pub max_output_tokens: Option<u32>,
    /// What users must know of it, for instance that it is a demonstration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

impl From<ModelEntry> for ModelView {
    fn from(entry: ModelEntry) -> Self {
        let id = entry.reference.to_string();
        Self {
            model_id: id.clone(),
            id,
            name: entry.info.name,
            provider: entry.reference.provider.to_string(),
            provider_type: entry.provider_kind,
            enabled: true,
            is_default: entry.is_default,
            is_current: entry.is_default,
            capabilities: entry.info.capabilities.words(),
            source: match entry.info.source {
                ModelSource::Api => "api",
                ModelSource::Preset => "preset",
                ModelSource::Config => "config",
            },
            context_window: entry.info.context_window,
            max_output_tokens: entry.info.max_output_tokens,
            notice: entry.info.notice,
        }
    }
}
