use model::{ErrorKind, Noun, OpError};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{agent_named, session_named};
use crate::link::link;

/// List the models of all providers, by provider and name, and the providers.
#[derive(JsonSchema)]
pub struct ModelsList;

pub const ERRORS: &[ErrorKind] = &[ErrorKind::NotFound(Noun::Agent)];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Models that can hold a conversation.
    #[default]
    Default,
    Configured,
    ProviderConfig,
    /// Embedders too.
    All,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    #[serde(default)]
    view: View,
    /// Accepted: every agent may use every model.
    #[serde(default)]
    agent_id: Option<String>,
    #[serde(default)]
    session_key: Option<String>,
    /// Only this provider's.
    #[serde(default)]
    provider: Option<String>,
    /// Ask the providers again.
    #[serde(default)]
    refresh: bool,
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type: details are always there")]
    include_details: bool,
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type: all models are ready")]
    prepared_only: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub models: Vec<ModelView>,
    pub providers: Vec<ProviderView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelView {
    id: String,
    name: String,
    provider: String,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_window: Option<u32>,
    reasoning: bool,
    /// `text`, `image`
    input: Vec<&'static str>,
    available: bool,
    /// `default`, and what users must know of the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderView {
    id: String,
    name: String,
    configured: bool,
    model_count: usize,
}

pub async fn list(call: Call, params: Params) -> Result<Reply<Output>, OpError> {
    match params.session_key.as_deref() {
        Some(key) => drop(session_named(&call, link(&call)?, Some(key), params.agent_id.as_deref(), "sessionKey")?),
        None => drop(agent_named(&call, params.agent_id.as_deref())?),
    }
    Ok(read(&call, &params).await.into())
}

pub async fn read(call: &Call, params: &Params) -> Output {
    let models = &call.services.models;
    let wanted = |provider: &str| params.provider.as_deref().is_none_or(|name| name.eq_ignore_ascii_case(provider));
    let mut listed: Vec<ModelView> = models
        .list(params.refresh)
        .await
        .into_iter()
        .filter(|entry| wanted(&entry.reference.provider))
        .filter(|entry| params.view == View::All || entry.info.capabilities.chat)
        .map(|entry| ModelView {
            id: entry.reference.model.to_string(),
            name: entry.info.name,
            provider: entry.reference.provider.to_string(),
            context_window: entry.info.context_window,
            reasoning: entry.info.capabilities.thinking,
            input: if entry.info.capabilities.vision { vec!["text", "image"] } else { vec!["text"] },
            available: true,
            tags: entry.is_default.then(|| String::from("default")).into_iter().chain(entry.info.notice).collect(),
        })
        .collect();
    listed.sort_by(|a, b| (&a.provider, &a.name, &a.id).cmp(&(&b.provider, &b.name, &b.id)));
    let providers = models
        .registry()
        .providers()
        .iter()
        .map(|provider| provider.name().to_owned())
        .filter(|name| wanted(name))
        .map(|name| ProviderView {
            model_count: listed.iter().filter(|model| model.provider == name).count(),
            id: name.clone(),
            name,
            configured: true,
        })
        .collect();
    Output { models: listed, providers }
}
