use model::{ErrorKind, OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Class, Operation, Reply};

/// Read the configuration file anew and apply it. With an error in it the running configuration stays.
#[derive(JsonSchema)]
pub struct ConfigReload;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub reloaded: bool,
    /// Dotted leaf paths, sorted.
    pub changed_keys: Vec<String>,
    pub source: String,
    /// Some changed keys take effect only after a restart.
    pub restart_required: bool,
    /// First segments of those keys.
    pub restart_components: Vec<String>,
}

impl Operation for ConfigReload {
    const NAME: &'static str = "config.reload";
    const SCOPE: Option<Scope> = Some(Scope::Admin);
    const CLASS: Class = Class::Write;
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::Conflict];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, _: Params) -> Result<Reply<Output>, OpError> {
        let done = call.services.config.reload().await?;
        Ok(Output {
            reloaded: true,
            changed_keys: done.changed_keys,
            source: done.source,
            restart_required: !done.restart_components.is_empty(),
            restart_components: done.restart_components,
        }
        .into())
    }
}
