//! Handing a message to the run that is active instead of starting another.

use model::{OpError, RunId, RunState, SessionKey};
use ops::Call;
use schemars::JsonSchema;
use serde::Deserialize;
use services::runs::Responded;

/// What to do with a message when the session is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BusyMode {
    /// Wait, then run as a turn of its own.
    #[default]
    Cue,
    /// Hand it to the active run at its next model call.
    Steer,
}

/// The same in the words of OpenClaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueMode {
    Steer,
    Followup,
    Collect,
    /// Stop what runs in the session, then start.
    Interrupt,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steering {
    Steered(RunId),
    NotActive,
    NotSteerable(RunId),
}

impl Steering {
    pub fn status(&self) -> &'static str {
        match self {
            Steering::Steered(_) => "steered",
            Steering::NotActive => "not_active",
            Steering::NotSteerable(_) => "not_steerable",
        }
    }

    pub fn target(&self) -> Option<String> {
        match self {
            Steering::Steered(run) | Steering::NotSteerable(run) => Some(run.to_string()),
            Steering::NotActive => None,
        }
    }
}

/// Hands `text` to the session's active run.
pub async fn steer(call: &Call, session: &SessionKey, text: &str) -> Result<Steering, OpError> {
    let runs = &call.services.runs;
    let Some(active) = runs.active_of(session).into_iter().next() else { return Ok(Steering::NotActive) };
    match runs.get(&active).await? {
        Some(run) if run.state == RunState::Running => match runs.respond(&active, text).await? {
            Responded::Delivered | Responded::Queued => Ok(Steering::Steered(active)),
            Responded::Ended => Ok(Steering::NotActive),
        },
        Some(run) if run.state.is_over() => Ok(Steering::NotActive),
        _ => Ok(Steering::NotSteerable(active)),
    }
}

/// The active run of the session when it waits for its user: then a message is its answer, which
/// waiting behind it would never reach.
pub async fn waits_for_user(call: &Call, session: &SessionKey) -> Result<bool, OpError> {
    let runs = &call.services.runs;
    let Some(active) = runs.active_of(session).into_iter().next() else { return Ok(false) };
    Ok(runs.get(&active).await?.is_some_and(|run| run.awaiting.is_some()))
}
