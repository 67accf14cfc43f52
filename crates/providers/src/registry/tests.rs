use model::FixedClock;

use super::*;
use crate::provider::Capabilities;
use crate::provider::ModelSource;
use crate::testkit::ScriptedProvider;

fn info(id: &str, embeddings: bool) -> ModelInfo {
    ModelInfo {
        id: id.into(),
        name: id.into(),
        capabilities: Capabilities { embeddings, ..Capabilities::CHAT },
        context_window: None,
        max_output_tokens: None,
        source: ModelSource::Api,
        notice: None,
    }
}

fn provider(name: &str, models: &[ModelInfo]) -> ScriptedProvider {
    ScriptedProvider::new(name).with_models(models.to_vec())
}

fn registry(clock: &Arc<FixedClock>, providers: &[&ScriptedProvider]) -> Registry {
    let registry = Registry::new(Arc::clone(clock) as Arc<dyn Clock>).with_ttl(Duration::from_secs(10));
    registry.replace(boxed(providers), None);
    registry
}

fn boxed(providers: &[&ScriptedProvider]) -> Vec<Arc<dyn Provider>> {
    providers.iter().map(|provider| Arc::new((*provider).clone()) as Arc<dyn Provider>).collect()
}

fn refs(catalogue: &Catalogue) -> Vec<String> {
    catalogue.models.iter().map(|model| model.model_ref().to_string()).collect()
}

#[tokio::test]
async fn the_catalogue_is_kept_for_its_time_and_no_longer() {
    let clock = Arc::new(FixedClock::at(0));
    let a = provider("a", &[info("one", false)]);
    let registry = registry(&clock, &[&a]);
    assert!(registry.last().models.is_empty());
    assert_eq!(refs(&*registry.catalogue().await), ["a/one"]);

    let a = a.with_models([info("two", false)]);
    clock.advance_ms(9_999);
    assert_eq!(refs(&*registry.catalogue().await), ["a/one"]);
    clock.advance_ms(1);
    assert_eq!(refs(&*registry.catalogue().await), ["a/two"]);

    let _a = a.with_models([info("three", false)]);
    assert_eq!(refs(&*registry.refresh().await), ["a/three"]);
    assert_eq!(refs(&registry.last()), ["a/three"]);
}

#[tokio::test]
async fn a_new_set_voids_the_catalogue() {
    let clock = Arc::new(FixedClock::at(0));
    let registry = registry(&clock, &[&provider("a", &[info("one", false)])]);
    registry.catalogue().await;
    let generation = registry.generation();
    registry.replace(boxed(&[&provider("b", &[info("x", false)])]), None);
    assert!(registry.generation() > generation);
    assert_eq!(refs(&*registry.catalogue().await), ["b/x"]);
    assert!(registry.get("a").is_none());
}

#[tokio::test]
async fn a_provider_that_fails_contributes_its_configured_models() {
    let clock = Arc::new(FixedClock::at(0));
    let failing = provider("b", &[info("two", false)]);
    failing.fail_listing(Some(ProviderError::new("b", ProviderErrorKind::Unreachable, "gone")));
    let registry = registry(&clock, &[&failing, &provider("a", &[info("one", false)])]);
    let catalogue = registry.catalogue().await;
    assert_eq!(refs(&catalogue), ["a/one", "b/two"]);
    assert_eq!(catalogue.failures.len(), 1);
}

#[tokio::test]
async fn a_model_is_resolved_by_its_provider_alone() {
    let clock = Arc::new(FixedClock::at(0));
    let registry = registry(&clock, &[&provider("a", &[])]);
    let unlisted: ModelRef = "a/vendor/not-listed".parse().unwrap();
    assert_eq!(registry.resolve(&unlisted).unwrap().name(), "a");
    assert_eq!(registry.describe(&unlisted).unwrap().id, "vendor/not-listed");
    let error = registry.resolve(&"z/one".parse().unwrap()).err().unwrap();
    assert_eq!(error.kind, ProviderErrorKind::ModelNotFound);
    assert_eq!(registry.providers().len(), 1);
}

#[tokio::test]
async fn the_default_embedder_is_the_named_one_else_one_that_is_known() {
    let clock = Arc::new(FixedClock::at(0));
    let chat_only = provider("a", &[info("one", false)]);
    let embeds = provider("b", &[info("chat", false), info("vectors", true)]);
    let registry = registry(&clock, &[&chat_only]);
    assert_eq!(registry.default_embedder(), None);
    registry.replace(boxed(&[&chat_only, &embeds]), None);
    assert_eq!(registry.default_embedder(), Some(ModelRef::new("b", "vectors")));
    registry.replace(boxed(&[&chat_only, &embeds]), Some(ModelRef::new("a", "named")));
    assert_eq!(registry.default_embedder(), Some(ModelRef::new("a", "named")));
}
