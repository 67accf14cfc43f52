use std::time::Duration;

use model::{OpError, RunId};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::at_least;
use crate::outcome::{End, Outcome};

/// Wait until a run is over, or the time is.
///
/// A run that is over is answered at once. An unknown one is waited for too: it may start later.
/// Any number of calls may wait for one run; none of them holds up others.
#[derive(JsonSchema)]
pub struct AgentWait;

const TIMEOUT_MS: u64 = 30_000;
const TIMEOUT_MS_MAX: u64 = 2_147_483_647;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    run_id: String,
    /// Milliseconds, 30 000 unless said otherwise; 0 = answer at once.
    #[serde(default)]
    timeout_ms: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    run_id: String,
    /// `ok`, `error` or `timeout`.
    status: &'static str,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<i64>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'static str>,
}

pub async fn run(call: Call, params: Params) -> Result<Reply<Output>, OpError> {
    let id = RunId::parse(&params.run_id).map_err(|error| OpError::invalid("runId", error))?;
    let limit = at_least("timeoutMs", params.timeout_ms, 0)?.unwrap_or(TIMEOUT_MS).min(TIMEOUT_MS_MAX);
    let ended = call.services.runs.wait(&id, Duration::from_millis(limit)).await?;
    let outcome = ended.as_ref().and_then(Outcome::of_run);
    let Some(outcome) = outcome else {
        let started_at = call.services.runs.live(&id).and_then(|live| live.run.started_at).map(model::Timestamp::as_ms);
        return Ok(Output {
            run_id: id.to_string(),
            status: "timeout",
            started_at,
            ended_at: None,
            error: None,
            stop_reason: None,
        }
        .into());
    };
    let (status, error, stop_reason) = match outcome.end {
        End::Completed { reason } => ("ok", None, Some(reason)),
        End::Aborted { reason } => ("error", Some(String::from("aborted")), Some(reason)),
        End::Failed { message, .. } => ("error", Some(message), None),
    };
    let started_at = outcome.started_at.map(model::Timestamp::as_ms);
    let ended_at = Some(outcome.ended_at.as_ms());
    Ok(Output { run_id: id.to_string(), status, started_at, ended_at, error, stop_reason }.into())
}
