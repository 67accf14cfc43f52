use model::{ErrorKind, OpError, RunId, StopCause};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::session_named;
use crate::link::link;

/// Stop a turn, or every turn of a session.
///
/// What is unknown or over already is no error. Each run that was stopped tells of it by a `chat`
/// event with the state `aborted`; messages that wait are withdrawn and tell so too.
#[derive(JsonSchema)]
pub struct ChatAbort;

pub const ERRORS: &[ErrorKind] = &[ErrorKind::Conflict];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// Absent = the main session.
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    key: Option<String>,
    /// Absent = all runs of the session.
    #[serde(default)]
    run_id: Option<String>,
    /// Accepted.
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type")]
    preserve_side_runs: bool,
    /// Must agree with the key.
    #[serde(default)]
    agent_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    ok: bool,
    /// At least one run was stopped.
    aborted: bool,
    run_ids: Vec<RunId>,
}

pub async fn run(call: Call, params: Params) -> Result<Reply<Output>, OpError> {
    let link = link(&call)?;
    let written = params.session_key.as_deref().or(params.key.as_deref());
    let session = session_named(&call, link, written, params.agent_id.as_deref(), "sessionKey")?;
    let runs = &call.services.runs;
    let run_ids = match params.run_id.as_deref() {
        None => runs.cancel_session(&session, StopCause::User).await?,
        Some(text) => match RunId::parse(text).ok() {
            None => Vec::new(),
            Some(id) => match runs.get(&id).await? {
                Some(run) if run.session_key != session => {
                    return Err(OpError::conflict("runId does not match sessionKey"));
                }
                Some(run) if !run.state.is_over() => {
                    if runs.cancel(&id, StopCause::User).await?.changed {
                        vec![id]
                    } else {
                        Vec::new()
                    }
                }
                _ => Vec::new(),
            },
        },
    };
    Ok(Output { ok: true, aborted: !run_ids.is_empty(), run_ids }.into())
}
