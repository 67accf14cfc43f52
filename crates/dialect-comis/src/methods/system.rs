//! `system.*`

use dialect::MethodTable;
use model::{Scope, Timestamp};
use ops::{Class, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tell that the connection lives.
#[derive(JsonSchema)]
struct SystemPing;

#[derive(Debug, Deserialize, JsonSchema)]
struct Params {}

#[derive(Debug, Serialize, JsonSchema)]
struct Pong {
    pong: bool,
    /// Unix milliseconds.
    ts: Timestamp,
}

pub(crate) fn bind(table: &mut MethodTable) {
    table.handle::<SystemPing, Params, Pong, _, _>(
        "system.ping",
        Some(Scope::Read),
        Class::Default,
        &[],
        |call, _| async move { Ok(Reply::from(Pong { pong: true, ts: call.services.clock.now() })) },
    );
}
