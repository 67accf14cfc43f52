use model::{OpError, Scope};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Call, Operation, Reply};

/// Give the JSON Schema (2020-12) of the configuration; the result is the schema itself.
#[derive(JsonSchema)]
pub struct ConfigSchema;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {}

impl Operation for ConfigSchema {
    const NAME: &'static str = "config.schema";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Value;

    async fn run(call: &Call, _: Params) -> Result<Reply<Value>, OpError> {
        Ok(call.services.config.schema().into())
    }
}
