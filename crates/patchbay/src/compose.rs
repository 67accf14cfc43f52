//! The one place where backends, providers and dialects are chosen and wired.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use config::Live;
use dialect_aleph::Aleph;
use dialect_argent::Argent;
use dialect_comis::Comis;
use dialect_openai::{OpenAi, OpenAiSettings};
use events::Link;
use futures_util::FutureExt;
use model::{Clock, Ids, ModelRef, Secret};
use providers::{Provider, ProviderKind, ProviderSettings, Registry, RetryPolicy, Router as ModelRouter};
use serde_json::json;
use server::settings::DialectName;
use server::{Contract, DialectSurface, Surface, WaitingRoom, Words};
use services::tokens::ConfiguredToken;
use services::{Models, NodeOptions, Services};
use store::Store;
use store_sqlite::{SqliteOptions, SqliteStore};
use tokio::sync::watch;

use crate::configuration::Configuration;
use crate::contracts;
use crate::home::Home;
use crate::settings::{Settings, StorePlace};

/// Opens the database that the settings name.
pub fn store(settings: &Settings, home: &Path) -> anyhow::Result<Arc<dyn Store>> {
    match settings.store.place(home) {
        StorePlace::File(path) => {
            let store = SqliteStore::open(&path, SqliteOptions::default())
                .with_context(|| format!("cannot open {}", path.display()))?;
            Ok(Arc::new(store))
        }
        #[cfg(feature = "postgres")]
        StorePlace::Server(url) => {
            let options = store_postgres::PostgresOptions::default();
            Ok(Arc::new(store_postgres::PostgresStore::open(url, options).context("store.url")?))
        }
        // Refused when the configuration was read.
        #[cfg(not(feature = "postgres"))]
        StorePlace::Server(_) => anyhow::bail!("this program was built without PostgreSQL"),
    }
}

/// How this process enters the cluster of its database.
pub fn node(settings: &Settings, home: &Home, ids: &Ids, store: &dyn Store) -> anyhow::Result<NodeOptions> {
    let name = match &settings.cluster.node {
        Some(name) => name.trim().to_owned(),
        None => home.node_name(|| format!("node-{}", hex::encode(ids.secret_bytes::<4>())))?,
    };
    let lease = Duration::from_secs(settings.cluster.lease_secs);
    let link = if store.is_shared() { link(settings)? } else { None };
    Ok(NodeOptions { name, lease, link })
}

/// What carries messages between the nodes.
fn link(settings: &Settings) -> anyhow::Result<Option<Arc<dyn Link>>> {
    #[cfg(feature = "nats")]
    if settings.bus.url != "local" {
        let address = link_nats::Address::parse(&settings.bus.url).context("bus.url")?;
        return Ok(Some(link_nats::NatsLink::new(address)));
    }
    #[cfg(feature = "postgres")]
    if !store_is_file(settings) {
        return Ok(Some(store_postgres::NotifyLink::new(&settings.store.url).context("store.url")?));
    }
    let _ = settings;
    Ok(None)
}

/// Whether the store is a file of this machine, which one process has open at a time.
pub fn store_is_file(settings: &Settings) -> bool {
    !settings.store.url.starts_with("postgres")
}

/// What to call the store in front of people; without credentials.
pub fn store_name(settings: &Settings) -> String {
    let url = &settings.store.url;
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => url.clone(),
    }
}

/// The version of the schema that this program brings the database to.
pub fn schema_version() -> u32 {
    store_sqlite::newest_version()
}

/// Providers and the default model; [`apply`] fills the registry.
pub fn models(clock: &Arc<dyn Clock>, seed: u64) -> Models {
    let registry = Arc::new(Registry::new(Arc::clone(clock)));
    let router = Arc::new(ModelRouter::new(Arc::clone(&registry), Arc::clone(clock), RetryPolicy::default(), seed));
    Models::new(registry, router, None)
}

/// The providers of the settings and those found in the environment; without a configuration of
/// its own, an account in the environment is used as it is.
fn provider_settings(settings: &Settings) -> Vec<(String, ProviderSettings)> {
    let found = providers::found_in_environment(&|name| std::env::var(name).ok());
    let mut all: Vec<(String, ProviderSettings)> =
        found.into_iter().filter(|(name, _)| !settings.providers.contains_key(name)).collect();
    all.extend(settings.providers.iter().map(|(name, provider)| (name.clone(), provider.clone())));
    all.retain(|(_, provider)| provider.enabled && provider.kind != ProviderKind::Local);
    all
}

/// Puts the providers of a configuration in force.
pub fn apply_providers(
    settings: &Settings,
    home: &Path,
    models: &Models,
    extra: &[(String, ProviderSettings)],
) -> Result<(), String> {
    let configured = provider_settings(settings);
    let mut built: Vec<Arc<dyn Provider>> = Vec::new();
    for (name, provider) in
        configured.iter().chain(extra.iter().filter(|(name, _)| !configured.iter().any(|(known, _)| known == name)))
    {
        built.push(providers::build(name, provider).map_err(|reason| format!("providers.{name}: {reason}"))?);
    }
    let first = built.first().map(|provider| provider.name().to_owned());
    #[cfg(feature = "local")]
    built.push(local(settings, home));
    #[cfg(not(feature = "local"))]
    let _ = home;
    models.registry().replace(built, settings.models.embedder.clone());
    let fallback = first
        .and_then(|name| default_of(&name, &configured, extra))
        .or_else(|| models.registry().get("local").map(|_| ModelRef::new("local", "default")));
    models.set_default_model(settings.models.default.clone().or(fallback));
    Ok(())
}

/// A model to begin with at a provider that was found, not configured in detail.
fn default_of(
    name: &str,
    configured: &[(String, ProviderSettings)],
    extra: &[(String, ProviderSettings)],
) -> Option<ModelRef> {
    let (_, provider) = configured.iter().chain(extra).find(|(known, _)| known == name)?;
    let listed = provider.models.first().map(|model| model.id.clone());
    let model = listed.or_else(|| match name {
        "openai" => Some(String::from("gpt-4.1-mini")),
        "anthropic" => Some(String::from("claude-sonnet-4-5")),
        "gemini" => Some(String::from("gemini-2.5-flash")),
        _ => None,
    })?;
    Some(ModelRef::new(name, model))
}

#[cfg(feature = "local")]
fn local(settings: &Settings, home: &Path) -> Arc<dyn Provider> {
    use std::sync::OnceLock;
    // One for the life of the process: its workers hold the weights.
    static LOCAL: OnceLock<Arc<dyn Provider>> = OnceLock::new();
    Arc::clone(
        LOCAL.get_or_init(|| Arc::new(local_model::LocalProvider::new("local", &home.join("models"), &settings.local))),
    )
}

/// The credentials of the configuration, the first operator's among them.
pub fn tokens(settings: &Settings, admin: &Secret) -> Vec<ConfiguredToken> {
    let operator = |id: &str, secret: Secret| ConfiguredToken {
        id: id.to_owned(),
        secret,
        scopes: model::ScopeSet::OPERATOR,
        role: String::from("operator"),
        words: Vec::new(),
    };
    let mut tokens = vec![operator("admin", admin.clone())];
    tokens.extend(settings.auth.token.iter().map(|token| ConfiguredToken {
        id: token.id.clone(),
        secret: token.secret.clone(),
        scopes: token.scopes.iter().copied().collect(),
        role: String::from("operator"),
        words: Vec::new(),
    }));
    tokens.extend(settings.aleph.tokens.iter().enumerate().map(|(index, token)| {
        let id = token.client_id.clone().unwrap_or_else(|| format!("aleph-{index}"));
        let is_node = token.role == dialect_aleph::settings::Role::Node;
        ConfiguredToken {
            role: String::from(if is_node { "node" } else { "operator" }),
            ..operator(&id, token.token.clone())
        }
    }));
    let environment = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let (comis, missing) = settings.comis.configured_tokens(environment);
    for variable in missing {
        tracing::warn!(
            variable,
            "a token in [comis] has no secret; set the variable, or `secret`, for it to be usable"
        );
    }
    tokens.extend(comis);
    tokens.extend(settings.argent.clone().with_environment(environment).configured_tokens());
    // The original's own variable keeps working.
    tokens
        .extend(environment("ALEPH_GATEWAY_TOKEN").map(|secret| operator("aleph-gateway-token", Secret::new(secret))));
    tokens
}

/// Everything that listeners serve.
pub fn surface(
    services: &Arc<Services>,
    configuration: &Arc<Configuration>,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
) -> Surface {
    let live = Arc::clone(configuration.live());
    let auth_required: Arc<dyn Fn() -> bool + Send + Sync> = {
        let live = Arc::clone(&live);
        Arc::new(move || live.current().auth.required)
    };
    let aleph =
        Aleph::new(Arc::clone(services), section(&live, |settings| settings.aleph.clone()), Arc::clone(&auth_required));
    let comis = Comis::new(Arc::clone(services), section(&live, |settings| settings.comis.clone()));
    let required = Arc::clone(&auth_required);
    comis.gate().require_auth_when(move || required());
    let argent_settings =
        section(&live, |settings| settings.argent.clone().with_environment(|name| std::env::var(name).ok()));
    let argent = Argent::new(Arc::clone(services), argent_settings, auth_required);
    let openai_settings = section(&live, |settings| OpenAiSettings {
        unknown_model: match settings.comis.openai.unknown_model {
            dialect_comis::UnknownModel::Default => dialect_openai::UnknownModel::Default,
            dialect_comis::UnknownModel::Reject => dialect_openai::UnknownModel::Reject,
        },
    });
    let openai = OpenAi::new(
        Arc::clone(services),
        Arc::new(move || OpenAiSettings::clone(&openai_settings())),
        Arc::clone(comis.gate()),
    );
    let routes = comis.routes().merge(openai.routes());
    let comis_routes = comis.listener_routes();
    let dialects = vec![
        DialectSurface {
            name: DialectName::Aleph,
            upgrade: Arc::new(move |socket, peer, _| {
                let response = dialect_aleph::upgrade(&aleph, socket, peer);
                async move { response }.boxed()
            }),
            words: words(DialectName::Aleph),
            own_routes: None,
        },
        DialectSurface {
            name: DialectName::Comis,
            upgrade: Arc::new(move |socket, peer, query| {
                let token = dialect::http::query::first(query.as_deref(), "token").map(Cow::into_owned);
                dialect_comis::upgrade(Arc::clone(&comis), socket, peer, token).boxed()
            }),
            words: words(DialectName::Comis),
            own_routes: Some(comis_routes),
        },
        DialectSurface {
            name: DialectName::Argent,
            upgrade: Arc::new(move |socket, peer, _| {
                let response = dialect_argent::upgrade(&argent, socket, &peer);
                async move { response }.boxed()
            }),
            words: words(DialectName::Argent),
            own_routes: None,
        },
    ];
    let contracts = contracts::served(services.info.version)
        .into_iter()
        .map(|(path, document, version)| Contract { path, document: Arc::new(move || document(version)) })
        .collect();
    let (lifecycle, cluster) = (services.lifecycle.clone(), Arc::clone(&services.cluster));
    Surface {
        services: Arc::clone(services),
        dialects,
        routes,
        contracts,
        metrics,
        allowed_origins: allowed_origins(&live),
        allowed_hosts: allowed_hosts(&live),
        is_ready: Arc::new(move || !lifecycle.is_draining() && cluster.is_well()),
    }
}

/// What is served while a gateway is waited for; `reason` says for what.
pub fn waiting_room(live: &Arc<Live<Settings>>, reason: watch::Receiver<String>) -> WaitingRoom {
    WaitingRoom { words, reason, allowed_origins: allowed_origins(live), allowed_hosts: allowed_hosts(live) }
}

/// How the dialects word that the gateway lives, and whether it is ready.
fn words(dialect: DialectName) -> Words {
    match dialect {
        DialectName::Aleph => Words { health: || json!({ "status": "ok" }), ready: |ready| json!({ "ready": ready }) },
        DialectName::Comis => Words {
            health: || json!({ "status": "ok" }),
            ready: |ready| json!({ "status": if ready { "ok" } else { "unavailable" } }),
        },
        DialectName::Argent => {
            Words { health: || json!({ "ok": true, "status": "live" }), ready: |ready| json!({ "ready": ready }) }
        }
    }
}

fn allowed_origins(live: &Arc<Live<Settings>>) -> Arc<dyn Fn() -> Vec<String> + Send + Sync> {
    let live = Arc::clone(live);
    Arc::new(move || {
        let settings = live.current();
        let lists = [
            &settings.aleph.allowed_origins,
            &settings.comis.cors_origins,
            &settings.argent.control_ui.allowed_origins,
        ];
        lists.into_iter().flatten().cloned().collect()
    })
}

fn allowed_hosts(live: &Arc<Live<Settings>>) -> Arc<dyn Fn() -> Vec<String> + Send + Sync> {
    let live = Arc::clone(live);
    Arc::new(move || live.current().auth.allowed_hosts.clone())
}

/// A section as the dialects ask for it, on every request: made once for each configuration.
fn section<T: Send + Sync + 'static>(
    live: &Arc<Live<Settings>>,
    read: impl Fn(&Settings) -> T + Send + Sync + 'static,
) -> Arc<dyn Fn() -> Arc<T> + Send + Sync> {
    let live = Arc::clone(live);
    let first = live.current();
    let made = RwLock::new((Arc::clone(&first), Arc::new(read(&first))));
    Arc::new(move || {
        let current = live.current();
        {
            let made = made.read().unwrap_or_else(PoisonError::into_inner);
            if Arc::ptr_eq(&made.0, &current) {
                return Arc::clone(&made.1);
            }
        }
        let section = Arc::new(read(&current));
        *made.write().unwrap_or_else(PoisonError::into_inner) = (current, Arc::clone(&section));
        section
    })
}
