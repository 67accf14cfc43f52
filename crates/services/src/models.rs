//! The models of all providers, and which of them is the default.

use std::sync::{Arc, PoisonError, RwLock};

use model::{Agent, ModelRef, Noun, OpError};
use providers::{ModelInfo, Registry, Router};

/// A model as the interfaces show it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelEntry {
    pub reference: ModelRef,
    /// The wire of its provider: `openai`, `local` …
    pub provider_kind: &'static str,
    pub info: ModelInfo,
    /// The gateway's default.
    pub is_default: bool,
}

pub struct Models {
    registry: Arc<Registry>,
    router: Arc<Router>,
    default_model: RwLock<Option<ModelRef>>,
}

impl Models {
    pub fn new(registry: Arc<Registry>, router: Arc<Router>, default_model: Option<ModelRef>) -> Self {
        Self { registry, router, default_model: RwLock::new(default_model) }
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub fn router(&self) -> &Arc<Router> {
        &self.router
    }

    pub fn default_model(&self) -> Option<ModelRef> {
        self.default_model.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_default_model(&self, model: Option<ModelRef>) {
        *self.default_model.write().unwrap_or_else(PoisonError::into_inner) = model;
    }

    /// The model an agent uses, before its fallbacks.
    pub fn model_of(&self, agent: &Agent) -> Option<ModelRef> {
        agent.model.clone().or_else(|| self.default_model())
    }

    /// Checks that the provider is configured; whether it has the model is for the provider to say.
    pub fn require(&self, model: &ModelRef) -> Result<(), OpError> {
        if self.registry.get(&model.provider).is_some() { Ok(()) } else { Err(OpError::not_found(Noun::Model, model)) }
    }

    /// What is known without asking the provider.
    pub fn describe(&self, model: &ModelRef) -> Option<ModelInfo> {
        self.registry.get(&model.provider).map(|provider| provider.describe(&model.model))
    }

    /// All models, by provider then id. `refresh` asks the providers again.
    pub async fn list(&self, refresh: bool) -> Vec<ModelEntry> {
        let default = self.default_model();
        let catalogue = if refresh { self.registry.refresh().await } else { self.registry.catalogue().await };
        let mut entries: Vec<ModelEntry> = catalogue
            .models
            .iter()
            .filter_map(|listed| {
                let reference = listed.model_ref();
                let provider_kind = self.registry.get(&reference.provider)?.kind();
                let is_default = default.as_ref() == Some(&reference);
                Some(ModelEntry { reference, provider_kind, info: listed.info.clone(), is_default })
            })
            .collect();
        entries.sort_by(|a, b| a.reference.cmp(&b.reference));
        entries
    }

    /// One model by `provider/id`, or by an id that only one provider lists.
    pub async fn get(&self, text: &str) -> Result<ModelEntry, OpError> {
        let entries = self.list(false).await;
        let listed = entries.iter().find(|entry| entry.reference.to_string() == text).or_else(|| {
            let mut by_id = entries.iter().filter(|entry| &*entry.reference.model == text);
            by_id.next().filter(|_| by_id.next().is_none())
        });
        if let Some(entry) = listed {
            return Ok(entry.clone());
        }
        let reference: ModelRef = text.parse().map_err(|_| OpError::not_found(Noun::Model, text))?;
        let provider = self.registry.get(&reference.provider).ok_or_else(|| OpError::not_found(Noun::Model, text))?;
        let is_default = self.default_model().as_ref() == Some(&reference);
        let info = provider.describe(&reference.model);
        Ok(ModelEntry { provider_kind: provider.kind(), info, is_default, reference })
    }
}
