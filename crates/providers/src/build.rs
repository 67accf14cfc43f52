//! From settings to a provider.

use std::sync::Arc;

use crate::anthropic::Anthropic;
use crate::gemini::Gemini;
use crate::ollama::Ollama;
use crate::openai::OpenAi;
use crate::openai_responses::OpenAiResponses;
use crate::provider::Provider;
use crate::settings::{ProviderKind, ProviderSettings};

/// The provider of a section, under the section's name.
///
/// The TLS provider of the process must be installed before. Fails with a text for the user when a
/// URL, a header or the key cannot be used, and for `local`, which only the program itself can make.
pub fn build(name: &str, settings: &ProviderSettings) -> Result<Arc<dyn Provider>, String> {
    Ok(match settings.kind {
        ProviderKind::Openai => Arc::new(OpenAi::new(name, settings)?),
        ProviderKind::OpenaiResponses => Arc::new(OpenAiResponses::new(name, settings)?),
        ProviderKind::Anthropic => Arc::new(Anthropic::new(name, settings)?),
        ProviderKind::Gemini => Arc::new(Gemini::new(name, settings)?),
        ProviderKind::Ollama => Arc::new(Ollama::new(name, settings)?),
        ProviderKind::Local => {
            return Err(format!("`{name}` is the embedded model, which this program was built without"));
        }
    })
}
