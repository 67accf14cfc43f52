//! `session.status` and `session.history`.

use dialect::MethodTable;
use model::{ErrorKind, Noun, OpError, Role, Scope, SessionKey, Timestamp};
use ops::{Call, Class, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::find::{default_agent, find};
use super::transcript;
use crate::http::{Said, said};
use crate::session_key::{kind_of, spell};

/// Messages in one answer at most.
const LIMIT_MAX: i64 = 1000;

pub(super) fn bind(table: &mut MethodTable) {
    table.handle::<SessionStatus, StatusParams, Status, _, _>(
        "session.status",
        Some(Scope::Read),
        Class::Default,
        &[ErrorKind::NotFound(Noun::Agent)],
        status,
    );
    table.handle::<SessionHistory, HistoryParams, History, _, _>(
        "session.history",
        Some(Scope::Read),
        Class::Default,
        &[ErrorKind::NotFound(Noun::Session)],
        history,
    );
}

/// Tell which model an agent uses, and what its main session has used so far.
#[derive(JsonSchema)]
struct SessionStatus;

#[derive(Debug, Deserialize, JsonSchema)]
struct StatusParams {
    /// The default agent when absent.
    #[serde(default, rename = "_agentId")]
    agent_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// `provider/model`; `unknown` when none is configured.
    model: String,
    agent_name: String,
    tokens_used: Totals,
    /// Model calls of the newest turn.
    steps_executed: u32,
    /// Model calls that one turn may take.
    max_steps: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Totals {
    total_tokens: u64,
    /// US dollars; 0, for prices are not known to the gateway.
    total_cost: f64,
}

async fn status(call: Call, params: StatusParams) -> Result<Reply<Status>, OpError> {
    let services = &call.services;
    let id = crate::agent(services, params.agent_id.as_deref())
        .map_err(|words| OpError::new(ErrorKind::NotFound(Noun::Agent), words))?;
    let agent = services.agents.require(&id)?;
    let main = SessionKey::main(&id);
    let session = services.sessions.get(&main).await?;
    let newest = services.sessions.recent_runs(&main, 1).await?.into_iter().next();
    let chosen = session.as_ref().and_then(|session| session.settings.model.clone());
    let model = chosen.or_else(|| services.models.model_of(&agent));
    Ok(Status {
        model: model.map_or_else(|| String::from("unknown"), |model| model.to_string()),
        agent_name: agent.name.clone(),
        tokens_used: Totals {
            total_tokens: session.map_or(0, |session| session.input_tokens + session.output_tokens),
            total_cost: 0.0,
        },
        steps_executed: newest.map_or(0, |run| run.iterations),
        max_steps: services.runs.limits().max_iterations,
    }
    .into())
}

/// Read a part of a conversation, oldest first: messages of user and assistant that have text.
#[derive(JsonSchema)]
struct SessionHistory;

#[derive(Debug, Deserialize, JsonSchema)]
struct HistoryParams {
    /// A canonical or formatted key, or a channel.
    #[serde(alias = "key", alias = "channelId")]
    session_key: String,
    /// Messages to leave out at the beginning.
    #[serde(default)]
    offset: i64,
    /// 1 to 1000.
    #[serde(default = "default_limit")]
    limit: i64,
}

const fn default_limit() -> i64 {
    20
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct History {
    session: SessionFacts,
    messages: Vec<Said>,
    /// Messages of the conversation.
    total: usize,
    offset: usize,
    limit: usize,
    has_more: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SessionFacts {
    key: String,
    agent_id: String,
    /// `dm`, `group` or `sub-agent`.
    channel_type: &'static str,
    message_count: u64,
    total_tokens: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// Tools called in the present conversation.
    tool_calls: usize,
    /// 1 when the conversation was ever compacted.
    compactions: u32,
    /// 0: the conversation before a reset is another one.
    reset_count: u32,
    /// Unix milliseconds.
    created_at: Timestamp,
    /// Unix milliseconds.
    last_active_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

async fn history(call: Call, params: HistoryParams) -> Result<Reply<History>, OpError> {
    let offset = usize::try_from(params.offset).map_err(|_| OpError::invalid("offset", "must be at least 0"))?;
    let limit = usize::try_from(params.limit.clamp(1, LIMIT_MAX)).unwrap_or(1);
    let session = find(&call, &params.session_key).await?;
    let all = transcript::messages(&call, &session).await?;
    let tool_calls = all.iter().map(|message| message.body.tool_calls.len()).sum();
    let talk = all.iter().filter(|message| matches!(message.body.role, Role::User | Role::Assistant));
    let talk: Vec<Said> = talk.filter_map(said).collect();
    let total = talk.len();
    let messages: Vec<Said> = talk.into_iter().skip(offset).take(limit).collect();
    let has_more = offset.saturating_add(messages.len()) < total;
    let session = SessionFacts {
        key: spell(&session.key, &default_agent(&call)),
        agent_id: session.key.agent().to_string(),
        channel_type: kind_of(&session.key),
        message_count: session.message_count,
        total_tokens: session.input_tokens + session.output_tokens,
        input_tokens: session.input_tokens,
        output_tokens: session.output_tokens,
        tool_calls,
        compactions: u32::from(session.last_compaction.is_some()),
        reset_count: 0,
        created_at: session.created_at,
        last_active_at: session.updated_at,
        label: session.settings.label,
    };
    Ok(History { session, messages, total, offset, limit, has_more }.into())
}
