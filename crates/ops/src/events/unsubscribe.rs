use model::{OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// Take patterns back, compared letter by letter; patterns that are not active are passed over.
#[derive(JsonSchema)]
pub struct EventsUnsubscribe;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    #[serde(alias = "topics", alias = "pattern", deserialize_with = "super::patterns")]
    pub patterns: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Those that were active.
    pub unsubscribed: Vec<String>,
    pub active_patterns: Vec<String>,
}

impl Operation for EventsUnsubscribe {
    const NAME: &'static str = "events.unsubscribe";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        if params.patterns.is_empty() {
            return Err(OpError::invalid("patterns", "must not be empty"));
        }
        let result = call.require_connection()?.unsubscribe(&params.patterns);
        Ok(Output { unsubscribed: result.changed, active_patterns: result.active }.into())
    }
}
