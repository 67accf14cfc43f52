use model::{ErrorKind, Noun, OpError, RunId, Scope, StopCause};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// Stop a run. Without `run_id`: the newest active run that this connection started, else the
/// active run of the default session.
#[derive(JsonSchema)]
pub struct ChatAbort;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    #[serde(default)]
    pub run_id: Option<RunId>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub aborted: bool,
    /// `null` when there was nothing to stop.
    pub run_id: Option<RunId>,
}

impl Operation for ChatAbort {
    const NAME: &'static str = "chat.abort";
    const SCOPE: Option<Scope> = Some(Scope::Write);
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::NotFound(Noun::Run), ErrorKind::Denied];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let is_named = params.run_id.is_some();
        let Some(run_id) = params.run_id.or_else(|| newest_active(call)) else {
            return Ok(Output { aborted: false, run_id: None }.into());
        };
        let run = call.services.runs.require(&run_id).await?;
        call.allow_session(&run.session_key)?;
        let cancelled = call.services.runs.cancel(&run_id, StopCause::User).await?;
        Ok(Output { aborted: cancelled.changed, run_id: (cancelled.changed || is_named).then_some(run_id) }.into())
    }
}

fn newest_active(call: &Call) -> Option<RunId> {
    let own = call.connection.as_ref().map(|connection| connection.runs_started()).unwrap_or_default();
    let newest = own.into_iter().rev().find(|id| call.services.runs.live(id).is_some());
    newest.or_else(|| call.services.runs.active_of(&call.default_session()).into_iter().next())
}
