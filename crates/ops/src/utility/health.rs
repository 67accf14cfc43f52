use model::{OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// Tell that the gateway serves. Never fails while it does.
#[derive(JsonSchema)]
pub struct Health;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// `ok`
    pub status: &'static str,
    /// RFC 3339, UTC.
    pub timestamp: String,
    pub uptime_ms: u64,
}

impl Operation for Health {
    const NAME: &'static str = "health";
    const SCOPE: Option<Scope> = None;
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, _: Params) -> Result<Reply<Output>, OpError> {
        let now = call.services.clock.now();
        let uptime_ms = now.ms_since(call.services.info.started_at);
        Ok(Output { status: "ok", timestamp: now.to_iso(), uptime_ms }.into())
    }
}
