use model::{ErrorKind, Noun, OpError, RunId, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::runs::Responded;

use crate::{Call, Operation, Reply};

/// Hand further input to a run: the answer to its question, or words for its next step.
#[derive(JsonSchema)]
pub struct AgentRespondToInput;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    pub run_id: RunId,
    /// 1 to 262 144 characters.
    #[serde(alias = "response")]
    pub message: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub queued: bool,
    pub accepted: bool,
    pub run_id: RunId,
    /// `run_ended` when the run was over already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl Operation for AgentRespondToInput {
    const NAME: &'static str = "agent.respondToInput";
    const SCOPE: Option<Scope> = Some(Scope::Write);
    const ERRORS: &'static [ErrorKind] =
        &[ErrorKind::NotFound(Noun::Run), ErrorKind::Busy, ErrorKind::Denied, ErrorKind::Unavailable];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let text = params.message.trim();
        let chars = text.chars().count();
        if !(1..=262_144).contains(&chars) {
            return Err(OpError::invalid("message", format!("must have 1 to 262144 characters, has {chars}")));
        }
        let run = call.services.runs.require(&params.run_id).await?;
        call.allow_session(&run.session_key)?;
        let responded = call.services.runs.respond(&params.run_id, text).await?;
        let taken = responded != Responded::Ended;
        let reason = (!taken).then_some("run_ended");
        Ok(Output { queued: taken, accepted: taken, run_id: params.run_id, reason }.into())
    }
}
