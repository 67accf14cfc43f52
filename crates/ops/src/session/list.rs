use model::{AgentId, OpError, Scope, Session, SessionKey, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::sessions::SessionFilter as StoreFilter;

use crate::{Call, Operation, Reply};

/// List stored sessions, the most recently used first.
#[derive(JsonSchema)]
pub struct SessionList;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    #[serde(default)]
    pub filter: Option<Filter>,
    /// 1 to 500.
    #[serde(default = "default_limit")]
    pub limit: i64,
    #[serde(default)]
    pub offset: i64,
}

const fn default_limit() -> i64 {
    50
}

/// Facts to match, or a part of the session key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Filter {
    Key(String),
    Facts(Facts),
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Facts {
    #[serde(default)]
    pub agent_id: Option<AgentId>,
    #[serde(default)]
    pub channel: Option<String>,
    /// Used since, Unix milliseconds.
    #[serde(default)]
    pub since: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub sessions: Vec<SessionView>,
    /// Matches before paging.
    pub total: u64,
    /// Sessions in this answer.
    pub count: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SessionView {
    pub session_key: SessionKey,
    /// The same as `session_key`.
    pub key: SessionKey,
    pub agent_id: AgentId,
    pub channel: String,
    /// `main`, `dm`, `group`, `task` or `subagent`.
    pub session_type: &'static str,
    pub message_count: u64,
    pub token_count: u64,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Unix milliseconds.
    pub updated_at: i64,
    /// Unix milliseconds.
    pub last_compaction: Option<i64>,
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        Self {
            agent_id: session.key.agent(),
            channel: session.key.channel().to_owned(),
            session_type: session.key.kind().as_str(),
            message_count: session.message_count,
            token_count: session.token_count,
            created_at: session.created_at.as_ms(),
            updated_at: session.updated_at.as_ms(),
            last_compaction: session.last_compaction.map(Timestamp::as_ms),
            key: session.key.clone(),
            session_key: session.key,
        }
    }
}

impl Operation for SessionList {
    const NAME: &'static str = "session.list";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let limit = crate::utility::bounded("limit", params.limit, 1, 500)?;
        let offset = u64::try_from(params.offset).map_err(|_| OpError::invalid("offset", "must be at least 0"))?;
        let mut filter = StoreFilter { offset, limit, ..StoreFilter::default() };
        match params.filter {
            Some(Filter::Key(part)) => filter.key_contains = Some(part),
            Some(Filter::Facts(facts)) => {
                filter.agent = facts.agent_id;
                filter.channel = facts.channel;
                filter.updated_since = facts.since.map(Timestamp::from_ms);
            }
            None => {}
        }
        let page = call.services.sessions.list(filter).await?;
        let sessions: Vec<SessionView> = page.sessions.into_iter().map(SessionView::from).collect();
        Ok(Output { count: sessions.len(), sessions, total: page.total }.into())
    }
}
