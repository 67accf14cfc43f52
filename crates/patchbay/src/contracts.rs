//! The machine-readable contracts: what is served, printed by `patchbay schema`, and committed.

use serde_json::Value;

use crate::settings::Settings;

/// The version in committed contracts: they describe the protocol, not a build.
const CONTRACT_VERSION: &str = "1.0.0";

/// Names that `patchbay schema` takes.
pub const NAMES: [&str; 3] = ["aleph", "events", "config"];

/// A contract by name.
pub fn by_name(name: &str) -> Option<Value> {
    Some(match name {
        "aleph" => dialect_aleph::openrpc(CONTRACT_VERSION),
        "events" => dialect_aleph::asyncapi(CONTRACT_VERSION),
        "config" => config::schema::<Settings>(),
        _ => return None,
    })
}

/// What listeners serve, with its path.
pub fn served(version: &str) -> Vec<(&'static str, Value)> {
    vec![("/openrpc.json", dialect_aleph::openrpc(version)), ("/asyncapi.json", dialect_aleph::asyncapi(version))]
}
