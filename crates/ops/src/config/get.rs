use model::{OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Call, Operation, Reply};

/// Read the effective configuration: defaults, file, environment and flags together, secrets redacted.
#[derive(JsonSchema)]
pub struct ConfigGet;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    /// A top-level section; absent = all of them.
    #[serde(default)]
    pub section: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub config: Value,
    /// Path of the file, or `defaults`.
    pub source: String,
    /// The last successful load, Unix milliseconds.
    pub loaded_at: i64,
}

impl Operation for ConfigGet {
    const NAME: &'static str = "config.get";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let source = &call.services.config;
        let all = source.effective();
        let config = match &params.section {
            None => all,
            Some(name) => {
                let section = all.get(name).cloned();
                let section = section.ok_or_else(|| OpError::invalid("section", format!("`{name}` is no section")))?;
                json!({ name: section })
            }
        };
        Ok(Output { config, source: source.source(), loaded_at: source.loaded_at().as_ms() }.into())
    }
}
