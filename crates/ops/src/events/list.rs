use model::{OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// List the patterns that this connection has subscribed to.
#[derive(JsonSchema)]
pub struct EventsList;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub patterns: Vec<String>,
    pub total: usize,
}

impl Operation for EventsList {
    const NAME: &'static str = "events.list";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, _: Params) -> Result<Reply<Output>, OpError> {
        let patterns = call.require_connection()?.patterns();
        Ok(Output { total: patterns.len(), patterns }.into())
    }
}
