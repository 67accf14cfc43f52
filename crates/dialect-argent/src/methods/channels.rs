use model::OpError;
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::at_least;

/// Tell the state of every configured channel account. Empty while no channel is configured.
#[derive(JsonSchema)]
pub struct ChannelsStatus;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// Ask the services.
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type: there is no service to ask")]
    probe: bool,
    #[serde(default)]
    timeout_ms: Option<i64>,
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type: there is no channel to choose")]
    channel: Option<String>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Unix milliseconds.
    ts: i64,
    channel_order: Vec<String>,
    channel_labels: Map<String, Value>,
    channel_detail_labels: Map<String, Value>,
    channel_system_images: Map<String, Value>,
    channel_meta: Vec<Value>,
    channels: Map<String, Value>,
    channel_accounts: Map<String, Value>,
    channel_default_account_id: Map<String, Value>,
}

pub async fn status(call: Call, params: Params) -> Result<Reply<Output>, OpError> {
    at_least("timeoutMs", params.timeout_ms, 0)?;
    Ok(Output { ts: call.services.clock.now().as_ms(), ..Output::default() }.into())
}
