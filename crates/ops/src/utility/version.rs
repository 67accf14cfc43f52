use model::{OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// Tell which program this is.
#[derive(JsonSchema)]
pub struct Version;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub version: &'static str,
    /// Commit id, or `dev`.
    pub build: &'static str,
    /// `patchbay`
    pub name: &'static str,
    /// `json-rpc-2.0`
    pub protocol: &'static str,
    pub protocol_version: u32,
}

impl Operation for Version {
    const NAME: &'static str = "version";
    const SCOPE: Option<Scope> = None;
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, _: Params) -> Result<Reply<Output>, OpError> {
        let info = &call.services.info;
        Ok(Output {
            version: info.version,
            build: info.build,
            name: "patchbay",
            protocol: "json-rpc-2.0",
            protocol_version: 1,
        }
        .into())
    }
}
