//! What is known of one provider's models: the configuration over the vendor's list over [`presets`](crate::presets).

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::presets::preset;
use crate::provider::{Capabilities, ModelInfo, ModelSource};
use crate::settings::ModelSettings;

/// A model as a vendor lists it; `None` where the vendor does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    pub id: String,
    pub name: Option<String>,
    pub context_window: Option<u32>,
    pub max_output_tokens: Option<u32>,
    pub chat: Option<bool>,
    pub vision: Option<bool>,
    pub tools: Option<bool>,
    pub thinking: Option<bool>,
    pub embeddings: Option<bool>,
}

#[derive(Debug, Default)]
pub(crate) struct KnownModels {
    configured: Vec<ModelSettings>,
    /// The vendor's last list; bounded by what one answer of the vendor holds.
    listed: RwLock<HashMap<String, Listed>>,
}

impl KnownModels {
    pub fn new(configured: &[ModelSettings]) -> Self {
        Self { configured: configured.to_vec(), listed: RwLock::default() }
    }

    /// The configured models, in the order of the configuration.
    pub fn configured(&self) -> Vec<ModelInfo> {
        self.configured.iter().map(|model| self.describe(&model.id)).collect()
    }

    /// Takes the vendor's list and gives the whole one: configured models first, then the vendor's.
    pub fn merge(&self, list: Vec<Listed>) -> Vec<ModelInfo> {
        let order: Vec<String> = list.iter().map(|model| model.id.clone()).collect();
        let by_id = list.into_iter().map(|model| (model.id.clone(), model)).collect();
        *self.listed.write().unwrap_or_else(PoisonError::into_inner) = by_id;
        let mut models = self.configured();
        models.extend(order.iter().filter(|id| self.settings(id).is_none()).map(|id| self.describe(id)));
        models
    }

    pub fn describe(&self, id: &str) -> ModelInfo {
        let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        let settings = self.settings(id);
        let source = match (settings, &listed) {
            (None, Some(_)) => ModelSource::Api,
            (None, None) if preset(id).is_some() => ModelSource::Preset,
            // A model that nobody lists was named by the configuration, or by a caller.
            _ => ModelSource::Config,
        };
        let listed = listed.unwrap_or_default();
        let unset = ModelSettings::default();
        let settings = settings.unwrap_or(&unset);
        let known = preset(id);
        ModelInfo {
            id: id.to_owned(),
            name: settings.name.clone().or(listed.name.clone()).unwrap_or_else(|| id.to_owned()),
            capabilities: capabilities(
                settings,
                &listed,
                known.map_or(Capabilities::CHAT, |preset| preset.capabilities),
            ),
            context_window: settings.context_window.or(listed.context_window).or(known.and_then(|p| p.context_window)),
            max_output_tokens: settings
                .max_output_tokens
                .or(listed.max_output_tokens)
                .or(known.and_then(|p| p.max_output_tokens)),
            source,
            notice: None,
        }
    }

    /// The context window that the configuration itself gives to a model.
    pub fn configured_window(&self, id: &str) -> Option<u32> {
        self.settings(id).and_then(|model| model.context_window)
    }

    fn settings(&self, id: &str) -> Option<&ModelSettings> {
        self.configured.iter().find(|model| model.id == id)
    }
}

fn capabilities(settings: &ModelSettings, listed: &Listed, otherwise: Capabilities) -> Capabilities {
    let embeddings = settings.embeddings.or(listed.embeddings).unwrap_or(otherwise.embeddings);
    let chat = match settings.embeddings {
        Some(embeds) => !embeds,
        None => listed.chat.unwrap_or(otherwise.chat),
    };
    Capabilities {
        chat,
        vision: chat && settings.vision.or(listed.vision).unwrap_or(otherwise.vision),
        tools: chat && settings.tools.or(listed.tools).unwrap_or(otherwise.tools),
        thinking: chat && settings.thinking.or(listed.thinking).unwrap_or(otherwise.thinking),
        streaming: chat,
        embeddings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_overrules_the_vendor_who_overrules_the_table() {
        let known = KnownModels::new(&[
            ModelSettings { id: "gpt-4o".into(), context_window: Some(1000), ..ModelSettings::default() },
            "mine".into(),
        ]);
        let listed = |id: &str| Listed {
            id: id.into(),
            name: Some("From the vendor".into()),
            max_output_tokens: Some(7),
            vision: Some(false),
            ..Listed::default()
        };
        let models = known.merge(vec![listed("gpt-4o"), listed("gpt-5"), listed("whisper-1")]);
        let summary: Vec<_> = models
            .iter()
            .map(|model| {
                (
                    model.id.as_str(),
                    model.source,
                    model.context_window,
                    model.max_output_tokens,
                    model.capabilities.chat,
                )
            })
            .collect();
        assert_eq!(
            summary,
            [
                ("gpt-4o", ModelSource::Config, Some(1000), Some(7), true),
                ("mine", ModelSource::Config, None, None, true),
                ("gpt-5", ModelSource::Api, Some(400_000), Some(7), true),
                ("whisper-1", ModelSource::Api, None, Some(7), false),
            ]
        );
        assert!(!models[0].capabilities.vision && models[2].capabilities.thinking);
        assert_eq!(known.describe("o3").source, ModelSource::Preset);
    }

    #[test]
    fn a_configured_embedder_does_not_chat() {
        let known =
            KnownModels::new(&[ModelSettings { id: "x".into(), embeddings: Some(true), ..ModelSettings::default() }]);
        assert_eq!(known.describe("x").capabilities.words(), ["embeddings"]);
    }
}
