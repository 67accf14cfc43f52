use model::{ErrorKind, Noun, OpError, Scope, uuid_of};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::explain::{Moment, Story};

use crate::{Call, Operation, Reply};

/// Tell the whole life of a message: received, queued, each step, tool calls, takeovers, its end, and what
/// is worth knowing about it. For whoever got nothing, or something twice.
#[derive(JsonSchema)]
pub struct AgentExplain;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    /// A run or a message, by any id that a dialect has shown of it: `run_…`, `msg_…`, an idempotency key,
    /// a UUID of Comis, `chatcmpl-…` or `resp_…`. 1 to 256 characters.
    pub id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub ids: KnownAs,
    pub session_key: String,
    pub agent_id: String,
    /// `pending`, `running`, `completed`, `cancelled` or `failed`.
    pub status: &'static str,
    /// The dialect that it came through.
    pub origin: String,
    /// Who sent it.
    pub started_by: String,
    /// The node that drives it, or drove it last; absent when that node is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Most important first.
    pub findings: Vec<String>,
    /// In the order in which it happened.
    pub timeline: Vec<TimelineEntry>,
}

/// The same message in the ids of every dialect.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KnownAs {
    /// In Aleph `run_id`, in ArgentOS `runId`.
    pub run_id: String,
    pub message_id: String,
    /// In Comis `messageId` of the answer.
    pub comis_run_uuid: String,
    /// In Comis the id of the user's message.
    pub comis_message_uuid: String,
    /// In the OpenAI API the id of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openai_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct TimelineEntry {
    /// Unix milliseconds, by the clock of the node that wrote it.
    pub at: i64,
    /// Place in the log of events; absent when only a row tells of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// `received`, `started`, `step_written`, `tool_started`, `tool_ended`, `input_requested`,
    /// `input_accepted`, `stop_asked`, `taken_over` or `ended`.
    pub what: &'static str,
    /// A sentence for people.
    pub text: String,
}

impl From<Moment> for TimelineEntry {
    fn from(moment: Moment) -> Self {
        let Moment { at, cursor, what, text } = moment;
        Self { at: at.as_ms(), cursor: cursor.map(|cursor| cursor.0), what, text }
    }
}

impl From<Story> for Output {
    fn from(story: Story) -> Self {
        let Story { run, node, moments, findings, .. } = story;
        let last = run.session_key.as_str().rsplit(':').next().unwrap_or_default();
        let openai_id = ["chatcmpl-", "resp_"].iter().any(|prefix| last.starts_with(prefix)).then(|| last.to_owned());
        Self {
            ids: KnownAs {
                comis_run_uuid: uuid_of(run.id.as_str()).to_string(),
                comis_message_uuid: uuid_of(run.message_id.as_str()).to_string(),
                openai_id,
                run_id: run.id.to_string(),
                message_id: run.message_id.to_string(),
            },
            session_key: run.session_key.to_string(),
            agent_id: run.agent_id.to_string(),
            status: run.state.as_str(),
            origin: run.origin,
            started_by: run.started_by,
            node: node.map(|node| node.node.name),
            findings,
            timeline: moments.into_iter().map(TimelineEntry::from).collect(),
        }
    }
}

impl Operation for AgentExplain {
    const NAME: &'static str = "agent.explain";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::NotFound(Noun::Run), ErrorKind::Denied];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        if !(1..=256).contains(&params.id.chars().count()) {
            return Err(OpError::invalid("id", "must have 1 to 256 characters"));
        }
        let story = call.services.explain.story(&params.id).await?;
        let story = story.ok_or_else(|| OpError::not_found(Noun::Run, &params.id))?;
        call.allow_session(&story.run.session_key)?;
        Ok(Output::from(story).into())
    }
}
