use model::{AgentId, AwaitingInput, ErrorKind, Noun, OpError, RunId, Scope, SessionKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// Ask how a run is doing, or how it ended. Answered for as long as its session exists.
#[derive(JsonSchema)]
pub struct AgentStatus;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    pub run_id: RunId,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub run_id: RunId,
    /// `pending`, `running`, `completed`, `cancelled` or `failed`.
    pub status: &'static str,
    pub session_key: SessionKey,
    pub agent_id: AgentId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Model calls so far.
    pub iterations: u32,
    /// Tokens so far, prompts and answers together.
    pub tokens_used: u64,
    /// Unix milliseconds.
    pub started_at: Option<i64>,
    /// Unix milliseconds.
    pub completed_at: Option<i64>,
    pub elapsed_ms: u64,
    /// Names of the tools that were called, in the order of their first call.
    pub tools_called: Vec<String>,
    /// The question that the run waits on.
    pub awaiting_input: Option<Awaiting>,
    /// The final text, once there is one.
    pub response: Option<String>,
    pub error: Option<Failure>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Awaiting {
    pub input_id: String,
    pub prompt: String,
    pub options: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Failure {
    /// The error kind in words; dialects with codes replace it.
    pub code: serde_json::Value,
    pub message: String,
}

impl From<AwaitingInput> for Awaiting {
    fn from(awaiting: AwaitingInput) -> Self {
        Self { input_id: awaiting.input_id.to_string(), prompt: awaiting.prompt, options: awaiting.options }
    }
}

impl Operation for AgentStatus {
    const NAME: &'static str = "agent.status";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::NotFound(Noun::Run), ErrorKind::Denied];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let run = call.services.runs.require(&params.run_id).await?;
        call.allow_session(&run.session_key)?;
        let tools_called = call.services.runs.tools_called(&run.id).await?;
        let now = call.services.clock.now();
        let elapsed_ms = run.started_at.map_or(0, |at| run.ended_at.unwrap_or(now).ms_since(at));
        Ok(Output {
            status: run.state.as_str(),
            agent_id: run.agent_id,
            model: run.model.map(|model| model.to_string()),
            iterations: run.iterations,
            tokens_used: run.usage.total(),
            started_at: run.started_at.map(model::Timestamp::as_ms),
            completed_at: run.ended_at.map(model::Timestamp::as_ms),
            elapsed_ms,
            tools_called,
            awaiting_input: run.awaiting.map(Awaiting::from),
            response: run.response,
            error: run.error.map(|error| Failure { code: error.kind.word().into(), message: error.message }),
            run_id: run.id,
            session_key: run.session_key,
        }
        .into())
    }
}
