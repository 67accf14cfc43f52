use model::{ErrorKind, Noun, OpError, Scope};
use schemars::JsonSchema;
use serde::Deserialize;

use super::ModelView;
use crate::{Call, Operation, Reply};

/// Describe one model by its id.
#[derive(JsonSchema)]
pub struct ModelsGet;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    /// `provider/id`, or an id that only one provider lists.
    pub model_id: String,
}

impl Operation for ModelsGet {
    const NAME: &'static str = "models.get";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::NotFound(Noun::Model)];
    type Params = Params;
    type Output = ModelView;

    async fn run(call: &Call, params: Params) -> Result<Reply<ModelView>, OpError> {
        Ok(ModelView::from(call.services.models.get(&params.model_id).await?).into())
    }
}
