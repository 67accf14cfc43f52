//! `session.*`: reading conversations and work for other agents for those who talk, managing for administrators.

mod find;
mod manage;
mod policy;
mod read;
mod run_status;
mod search;
mod send;
mod spawn;
mod transcript;

use std::time::Duration;

use dialect::MethodTable;
use model::OpError;

use crate::settings::AgentToAgent;
use crate::table::Context;

/// Longest wait for an answer that a caller may ask for, in milliseconds.
const WAIT_MS_MAX: u64 = 600_000;

pub(crate) fn bind(table: &mut MethodTable, context: &Context) {
    read::bind(table);
    search::bind(table);
    manage::bind(table);
    send::bind(table, context);
    spawn::bind(table, context);
    run_status::bind(table);
}

/// How long to wait for an answer: what the caller asks for, or as configured.
fn time_limit(asked_ms: Option<u64>, policy: &AgentToAgent) -> Result<Duration, OpError> {
    match asked_ms {
        None => Ok(Duration::from_millis(policy.wait_timeout_ms.min(WAIT_MS_MAX))),
        Some(ms @ 1..=WAIT_MS_MAX) => Ok(Duration::from_millis(ms)),
        Some(_) => Err(OpError::invalid("timeout_ms", format!("must be from 1 to {WAIT_MS_MAX}"))),
    }
}
