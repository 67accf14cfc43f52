//! The providers in use, by name, and the catalogue of all their models.
//!
//! A reload of the configuration swaps the whole set at once; who holds a provider of the old set
//! keeps it until its answer is done.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use model::{Clock, ModelRef, Timestamp};
use tokio::sync::Mutex;

use crate::error::{ProviderError, ProviderErrorKind};
use crate::provider::{ModelInfo, Provider};

/// How long a catalogue is good, unless told otherwise.
pub const CATALOGUE_TTL: Duration = Duration::from_secs(5 * 60);

/// A model of the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogueModel {
    pub provider: Arc<str>,
    pub info: ModelInfo,
}

impl CatalogueModel {
    pub fn model_ref(&self) -> ModelRef {
        ModelRef::new(Arc::clone(&self.provider), self.info.id.as_str())
    }
}

/// Every model that was on offer at one moment.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// By provider in the order of names, then as each provider lists them.
    pub models: Vec<CatalogueModel>,
    /// Why a provider could not be asked; its configured models are in `models` all the same.
    pub failures: Vec<ProviderError>,
    pub fetched_at: Timestamp,
}

/// See the [module](self).
pub struct Registry {
    set: RwLock<Arc<Set>>,
    clock: Arc<dyn Clock>,
    ttl: Duration,
    /// Held while the vendors are asked, so that many callers make one round.
    cached: Mutex<Option<Cached>>,
    /// The last catalogue for those who cannot wait.
    last: RwLock<Arc<Catalogue>>,
}

#[derive(Default)]
struct Set {
    generation: u64,
    providers: BTreeMap<Arc<str>, Arc<dyn Provider>>,
    embedder: Option<ModelRef>,
}

#[derive(Clone)]
struct Cached {
    generation: u64,
    catalogue: Arc<Catalogue>,
}

impl Registry {
    /// An empty registry, with [`CATALOGUE_TTL`].
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { set: RwLock::default(), clock, ttl: CATALOGUE_TTL, cached: Mutex::new(None), last: RwLock::default() }
    }

    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Puts a new set in place of the old. `embedder` is the configured default embedder, if any.
    /// Of two providers of one name the later stays.
    pub fn replace(&self, providers: impl IntoIterator<Item = Arc<dyn Provider>>, embedder: Option<ModelRef>) {
        let providers = providers.into_iter().map(|provider| (Arc::from(provider.name()), provider)).collect();
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        *set = Arc::new(Set { generation: set.generation + 1, providers, embedder });
    }

    /// Grows with each [`replace`](Self::replace): what was learned of an older set is void.
    pub fn generation(&self) -> u64 {
        self.current().generation
    }

    pub fn get(&self, name: &str) -> Option<Arc<dyn Provider>> {
        self.current().providers.get(name).cloned()
    }

    /// All providers in the order of their names.
    pub fn providers(&self) -> Vec<Arc<dyn Provider>> {
        self.current().providers.values().cloned().collect()
    }

    /// The provider of a model. Whether it has the model is for it to say. Fails with
    /// [`ModelNotFound`](ProviderErrorKind::ModelNotFound) when no provider has the name.
    pub fn resolve(&self, model: &ModelRef) -> Result<Arc<dyn Provider>, ProviderError> {
        self.get(&model.provider).ok_or_else(|| {
            let message = format!("no provider named `{}` is configured, which `{model}` needs", model.provider);
            ProviderError::new(&*model.provider, ProviderErrorKind::ModelNotFound, message)
        })
    }

    /// What is known of a model without asking anyone.
    pub fn describe(&self, model: &ModelRef) -> Option<ModelInfo> {
        self.get(&model.provider).map(|provider| provider.describe(&model.model))
    }

    /// The model that makes embeddings when none is named: the configured default, else the first
    /// configured one, else the first in the last catalogue.
    pub fn default_embedder(&self) -> Option<ModelRef> {
        let set = self.current();
        if let Some(embedder) = &set.embedder {
            return Some(embedder.clone());
        }
        let configured = set.providers.iter().flat_map(|(name, provider)| {
            let embedders = provider.configured_models().into_iter().filter(|model| model.capabilities.embeddings);
            embedders.map(|model| ModelRef::new(Arc::clone(name), model.id))
        });
        configured.into_iter().next().or_else(|| {
            let last = self.last();
            let known = last.models.iter().filter(|model| set.providers.contains_key(&model.provider));
            known.into_iter().find(|model| model.info.capabilities.embeddings).map(CatalogueModel::model_ref)
        })
    }

    /// The catalogue, fetched anew when it is older than its time or the set has changed since.
    pub async fn catalogue(&self) -> Arc<Catalogue> {
        let mut cached = self.cached.lock().await;
        if let Some(known) = &*cached
            && known.generation == self.generation()
            && u128::from(self.clock.now().ms_since(known.catalogue.fetched_at)) < self.ttl.as_millis()
        {
            return Arc::clone(&known.catalogue);
        }
        self.fetch_into(&mut cached).await
    }

    /// Asks all vendors now.
    pub async fn refresh(&self) -> Arc<Catalogue> {
        let mut cached = self.cached.lock().await;
        self.fetch_into(&mut cached).await
    }

    /// The last catalogue, however old; empty before the first was fetched.
    pub fn last(&self) -> Arc<Catalogue> {
        Arc::clone(&self.last.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn fetch_into(&self, cached: &mut Option<Cached>) -> Arc<Catalogue> {
        let set = self.current();
        let catalogue = Arc::new(fetch(&set, self.clock.now()).await);
        *cached = Some(Cached { generation: set.generation, catalogue: Arc::clone(&catalogue) });
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&catalogue);
        catalogue
    }

    fn current(&self) -> Arc<Set> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks all providers at once; each limits its own time.
async fn fetch(set: &Set, fetched_at: Timestamp) -> Catalogue {
    let answers = join_all(set.providers.values().map(|provider| provider.models())).await;
    let mut catalogue = Catalogue { fetched_at, ..Catalogue::default() };
    for ((name, provider), answer) in set.providers.iter().zip(answers) {
        let models = answer.unwrap_or_else(|error| {
            tracing::warn!(provider = %name, %error, "no list of models; only the configured ones are offered");
            catalogue.failures.push(error);
            provider.configured_models()
        });
        catalogue.models.extend(models.into_iter().map(|info| CatalogueModel { provider: Arc::clone(name), info }));
    }
    catalogue
}

#[cfg(test)]
mod tests;
