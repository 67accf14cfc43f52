//! Which parts of messages a model can take. What it cannot take is refused, never left out in silence.

use providers::{ModelInfo, ModelSource};

use super::messages::{PartKind, PartPlace};
use super::request::Request;
use crate::check::Issues;
use crate::errors::ApiError;

/// Refuses the first parts that a model of a provider of this kind cannot take.
pub(crate) fn check(request: &Request, provider_kind: &str, model: &ModelInfo) -> Result<(), ApiError> {
    let mut issues = Issues::default();
    for PartPlace { path, kind } in &request.parts {
        if let Some(what) = refused(provider_kind, model, kind) {
            issues.add(path.clone(), format!("{what} cannot be given to the model {:?}", request.model));
        }
    }
    issues.result()
}

fn refused(provider_kind: &str, model: &ModelInfo, part: &PartKind) -> Option<&'static str> {
    let is_takeable = match part {
        PartKind::ImageData => sees(model),
        // Ollama's wire has no pictures by reference.
        PartKind::ImageUrl => sees(model) && provider_kind != "ollama",
        PartKind::Audio => !matches!(provider_kind, "anthropic" | "ollama" | "openai-responses" | "local"),
        PartKind::File { mime_type } => match provider_kind {
            "local" => false,
            "ollama" => is_text(mime_type),
            "anthropic" => is_text(mime_type) || mime_type == "application/pdf",
            _ => true,
        },
    };
    let what = match part {
        PartKind::ImageData | PartKind::ImageUrl => "an `image_url` part",
        PartKind::Audio => "an `input_audio` part",
        PartKind::File { .. } => "a `file` part of this type",
    };
    (!is_takeable).then_some(what)
}

/// A model that nobody knows may see: then the provider judges.
fn sees(model: &ModelInfo) -> bool {
    model.capabilities.vision || model.source == ModelSource::Config
}

fn is_text(mime_type: &str) -> bool {
    mime_type.starts_with("text/") || matches!(mime_type, "application/json" | "application/xml")
}
