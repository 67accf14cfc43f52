use model::{OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use services::settings::ConfigRemark;

use crate::{Call, Operation, Reply};

/// Check a configuration without applying it. Unknown keys are errors.
#[derive(JsonSchema)]
pub struct ConfigValidate;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    /// An object, or a TOML or JSON text.
    pub config: Value,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// There are no errors.
    pub valid: bool,
    pub errors: Vec<ConfigRemark>,
    pub warnings: Vec<ConfigRemark>,
}

impl Operation for ConfigValidate {
    const NAME: &'static str = "config.validate";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        if !(params.config.is_object() || params.config.is_string()) {
            return Err(OpError::invalid("config", "must be an object, or a TOML or JSON text"));
        }
        let check = call.services.config.check(&params.config);
        Ok(Output { valid: check.errors.is_empty(), errors: check.errors, warnings: check.warnings }.into())
    }
}
