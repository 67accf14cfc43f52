use model::{OpError, REDACTED};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{HIDDEN, NoParams};
use crate::link::link;

/// Read the configuration: defaults, file, environment and flags together, secrets redacted.
///
/// `hash` changes whenever the effective configuration does. The file itself is TOML with comments
/// and secrets, so `raw` is always null; `parsed` is the same as `config`.
#[derive(JsonSchema)]
pub struct ConfigGet;

/// What clients of this protocol know as a redacted value.
const MARK: &str = "__OPENCLAW_REDACTED__";

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// For administrators; else `[redacted]`.
    path: String,
    exists: bool,
    raw: Option<String>,
    parsed: Value,
    valid: bool,
    config: Value,
    /// Lower-case hex of 32 bytes.
    hash: String,
    issues: Vec<Issue>,
    warnings: Vec<Issue>,
    legacy_issues: Vec<Issue>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Issue {
    path: String,
    message: String,
}

pub async fn get(call: Call, _: NoParams) -> Result<Reply<Output>, OpError> {
    let link = link(&call)?;
    let source = call.services.config.source();
    let is_admin = call.principal.scopes.contains(model::Scope::Admin);
    let mut config = call.services.config.effective();
    mark(&mut config);
    Ok(Output {
        exists: source != "defaults",
        path: if is_admin { source } else { HIDDEN.to_owned() },
        raw: None,
        parsed: config.clone(),
        // A configuration with mistakes is never put in force.
        valid: true,
        config,
        hash: link.argent.config_hash(),
        issues: Vec::new(),
        warnings: Vec::new(),
        legacy_issues: Vec::new(),
    }
    .into())
}

fn mark(value: &mut Value) {
    match value {
        Value::String(text) if text == REDACTED => MARK.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(mark),
        Value::Object(fields) => fields.values_mut().for_each(mark),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn redacted_values_carry_the_known_mark() {
        let mut value = json!({ "auth": { "token": [{ "secret": REDACTED }] }, "port": 1 });
        mark(&mut value);
        assert_eq!(value, json!({ "auth": { "token": [{ "secret": MARK }] }, "port": 1 }));
    }
}
