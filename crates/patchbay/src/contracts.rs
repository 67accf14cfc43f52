//! The machine-readable contracts: what is served, printed by `patchbay schema`, and committed.

use dialect::contract_http;
use serde_json::Value;

use crate::settings::Settings;

/// The version in committed contracts: they describe the protocol, not a build.
const CONTRACT_VERSION: &str = "1.0.0";

/// Names that `patchbay schema` takes.
pub const NAMES: [&str; 5] = ["aleph", "comis", "argent", "events", "config"];

/// A contract by name.
pub fn by_name(name: &str) -> Option<Value> {
    Some(match name {
        "aleph" => dialect_aleph::openrpc(CONTRACT_VERSION),
        "comis" => openapi(CONTRACT_VERSION),
        "argent" => dialect_argent::openrpc(CONTRACT_VERSION),
        "events" => dialect_aleph::asyncapi(CONTRACT_VERSION),
        "config" => config::schema::<Settings>(),
        _ => return None,
    })
}

/// Writes a contract for a version.
type Writer = fn(&str) -> Value;

/// What listeners serve, by path.
pub fn served(version: &'static str) -> Vec<(&'static str, Writer, &'static str)> {
    vec![
        ("/openrpc.json", dialect_aleph::openrpc as Writer, version),
        ("/argent.openrpc.json", dialect_argent::openrpc, version),
        ("/openapi.json", openapi, version),
        ("/asyncapi.json", dialect_aleph::asyncapi, version),
    ]
}

fn openapi(version: &str) -> Value {
    let mut generator = contract_http::generator();
    let fragments = [dialect_comis::paths(&mut generator), dialect_openai::paths(&mut generator)];
    let words =
        "The HTTP surface of every listener: Comis's REST, SSE and JSON-RPC, and the OpenAI-compatible API below /v1.";
    contract_http::openapi("Patchbay HTTP", version, words, fragments, generator)
}
