use model::{OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ModelView;
use crate::{Call, Operation, Reply};

/// List the models of all providers, by provider and id.
#[derive(JsonSchema)]
pub struct ModelsList;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    /// Only this provider's models.
    #[serde(default)]
    pub provider: Option<String>,
    /// Every listed model is enabled; accepted for clients that ask.
    #[serde(default)]
    pub enabled_only: bool,
    /// Ask the providers again; one that fails contributes its configured models.
    #[serde(default)]
    pub refresh: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub models: Vec<ModelView>,
}

impl Operation for ModelsList {
    const NAME: &'static str = "models.list";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let entries = call.services.models.list(params.refresh).await;
        let wanted = |provider: &str| params.provider.as_deref().is_none_or(|name| name == provider);
        let models =
            entries.into_iter().filter(|entry| wanted(&entry.reference.provider)).map(ModelView::from).collect();
        Ok(Output { models }.into())
    }
}
