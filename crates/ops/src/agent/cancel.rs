use model::{ErrorKind, Noun, OpError, RunId, Scope, StopCause};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// Stop a run. Returns once the run is marked; its terminal event follows. Repeating it does no harm.
#[derive(JsonSchema)]
pub struct AgentCancel;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    pub run_id: RunId,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// `false` when the run was over already.
    pub cancelled: bool,
    pub run_id: RunId,
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl Operation for AgentCancel {
    const NAME: &'static str = "agent.cancel";
    const SCOPE: Option<Scope> = Some(Scope::Write);
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::NotFound(Noun::Run), ErrorKind::Denied];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let run = call.services.runs.require(&params.run_id).await?;
        call.allow_session(&run.session_key)?;
        let cancelled = call.services.runs.cancel(&params.run_id, StopCause::User).await?;
        let reason = (!cancelled.changed).then_some("already_finished");
        let status = if cancelled.changed { "cancelled" } else { cancelled.run.state.as_str() };
        Ok(Output { cancelled: cancelled.changed, run_id: params.run_id, status, reason }.into())
    }
}
