use model::{OpError, Scope};
use schemars::JsonSchema;
use serde_json::Value;

use crate::{Call, Operation, Reply};

/// Give the parameters back unchanged, whatever they are; `null` when there are none.
#[derive(JsonSchema)]
pub struct Echo;

impl Operation for Echo {
    const NAME: &'static str = "echo";
    const SCOPE: Option<Scope> = None;
    type Params = Value;
    type Output = Value;

    async fn run(_: &Call, params: Value) -> Result<Reply<Value>, OpError> {
        Ok(params.into())
    }
}
