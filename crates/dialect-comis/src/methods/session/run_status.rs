//! `session.run_status`: how a spawned run stands.

use dialect::MethodTable;
use model::{ErrorKind, Noun, OpError, RunId, RunState, Scope, Timestamp};
use ops::{Call, Class, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::subagents::SubagentRun;

use super::find::default_agent;
use crate::session_key::spell;
use crate::turn::TokensUsed;

pub(super) fn bind(table: &mut MethodTable) {
    table.handle::<SessionRunStatus, Params, Status, _, _>(
        "session.run_status",
        Some(Scope::Read),
        Class::Default,
        &[ErrorKind::NotFound(Noun::Run)],
        run_status,
    );
}

/// Tell how a run stands that `session.spawn` began. Known for as long as its session exists.
#[derive(JsonSchema)]
struct SessionRunStatus;

#[derive(Debug, Deserialize, JsonSchema)]
struct Params {
    #[serde(alias = "runId")]
    run_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Status {
    run_id: String,
    /// `queued`, `running`, `completed` or `failed`.
    status: &'static str,
    agent_id: String,
    task: String,
    session_key: String,
    /// Unix milliseconds; when the task was taken on, as long as it is queued.
    started_at: Timestamp,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<Timestamp>,
    /// Milliseconds since the start, or from start to end; 0 while queued.
    runtime_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    /// Of a run that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_used: Option<TokensUsed>,
    /// Why the run failed, or that it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

async fn run_status(call: Call, params: Params) -> Result<Reply<Status>, OpError> {
    let unknown = || {
        let shown: String = params.run_id.chars().take(200).collect();
        OpError::new(ErrorKind::NotFound(Noun::Run), format!("Run not found: {shown}"))
    };
    let id = RunId::parse(&params.run_id).map_err(|_| unknown())?;
    let SubagentRun { run, task } = match call.services.subagents.get(&id).await {
        Err(error) if error.kind == ErrorKind::NotFound(Noun::Run) => return Err(unknown()),
        found => found?,
    };
    let (status, error) = match run.state {
        RunState::Pending => ("queued", None),
        RunState::Running => ("running", None),
        RunState::Completed => ("completed", None),
        RunState::Cancelled => ("failed", Some(String::from("the run was stopped"))),
        RunState::Failed => ("failed", run.error.map(|error| error.message)),
    };
    let until = run.ended_at.unwrap_or_else(|| call.services.clock.now());
    let is_over = run.state.is_over();
    Ok(Status {
        run_id: run.id.to_string(),
        status,
        agent_id: run.agent_id.to_string(),
        task,
        session_key: spell(&run.session_key, &default_agent(&call)),
        started_at: run.started_at.unwrap_or(run.accepted_at),
        completed_at: run.ended_at,
        runtime_ms: run.started_at.map_or(0, |at| until.ms_since(at)),
        response: run.response.filter(|_| is_over),
        tokens_used: is_over.then(|| run.usage.into()),
        error,
    }
    .into())
}
