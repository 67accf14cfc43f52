//! The OpenAI-compatible API: models, chat completions, responses and embeddings below `/v1`.
//!
//! A model id means an agent, whose turn runs in a session of its own, or a model of a provider. A
//! provider that speaks this API itself gets the request's bytes with its own name for the model
//! spliced in ([`relay`]); for the others, and for responses, requests and answers are translated
//! ([`chat`], [`responses`]). Knows no other dialect and no storage. Read [`OpenAi`] first.

mod chat;
mod check;
mod embeddings;
mod errors;
mod guard;
mod models;
mod relay;
mod responses;
mod route;
mod routes;
mod settings;
mod splice;
mod sse;
mod target;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use dialect::http::Gate;
use services::Services;

pub use errors::{ErrorBody, ErrorDetail};
pub use settings::{OpenAiSettings, UnknownModel};

use errors::ApiError;
use route::unknown;
use target::Target;

/// Where the settings in force come from.
pub type SettingsSource = Arc<dyn Fn() -> OpenAiSettings + Send + Sync>;

/// What runs are marked with that come in through this dialect.
pub(crate) const ORIGIN: &str = "openai";

pub struct OpenAi {
    services: Arc<Services>,
    settings: SettingsSource,
    gate: Arc<Gate>,
}

impl OpenAi {
    /// `gate` is the one of the process: credentials and windows of requests are shared with the
    /// other routes.
    pub fn new(services: Arc<Services>, settings: SettingsSource, gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self { services, settings, gate })
    }

    /// `/v1/*`, limited and guarded; unknown paths below it included.
    pub fn routes(self: &Arc<Self>) -> Router {
        routes::table()
            .into_router()
            .route("/v1", any(unknown))
            .route("/v1/", any(unknown))
            .route("/v1/{*rest}", any(unknown))
            .layer(from_fn_with_state(Arc::clone(&self.gate), guard::guard))
            .with_state(Arc::clone(self))
    }

    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    pub(crate) fn body_bytes_max(&self) -> usize {
        self.gate.rules().body_bytes_max()
    }

    pub(crate) fn target(&self, model: &str) -> Result<Target, ApiError> {
        target::resolve(&self.services, model, (self.settings)().unknown_model)
    }
}

/// The routes in the form of OpenAPI's `paths`; schemas that have a name go to `generator`.
pub fn paths(generator: &mut schemars::SchemaGenerator) -> serde_json::Value {
    routes::table().paths(generator)
}
