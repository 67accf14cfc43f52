//! `session.search`

use dialect::MethodTable;
use model::{AgentId, OpError, Role, Scope, Timestamp};
use ops::{Call, Class, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::sessions::{SearchQuery, SessionFilter};

use super::find::default_agent;
use crate::session_key::{kind_of, spell};

const HITS_MAX: i64 = 50;
const RECENT_MAX: i64 = 30;

pub(super) fn bind(table: &mut MethodTable) {
    table.handle::<SessionSearch, Params, Found, _, _>("session.search", Some(Scope::Read), Class::Heavy, &[], search);
}

/// Search the text of all conversations, best hits first; without words, list the conversations
/// used most recently.
#[derive(JsonSchema)]
struct SessionSearch;

#[derive(Debug, Deserialize, JsonSchema)]
struct Params {
    /// Words that must all occur.
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    scope: Said,
    /// 1 to 50; without words 1 to 30.
    #[serde(default = "default_limit")]
    limit: i64,
}

const fn default_limit() -> i64 {
    10
}

/// Whose messages are searched.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Said {
    #[default]
    All,
    User,
    Assistant,
    Tool,
}

impl Said {
    fn roles(self) -> Vec<Role> {
        match self {
            Said::All => vec![Role::User, Role::Assistant, Role::Tool],
            Said::User => vec![Role::User],
            Said::Assistant => vec![Role::Assistant],
            Said::Tool => vec![Role::Tool],
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "lowercase")]
enum Found {
    Search { results: Vec<Hit>, total: usize },
    Recent { sessions: Vec<Recent>, total: u64 },
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Hit {
    session_key: String,
    agent_id: String,
    /// `dm`, `group` or `sub-agent`.
    channel_type: &'static str,
    /// The words in their surroundings.
    snippet: String,
    /// Greater is better.
    score: f64,
    /// Unix milliseconds.
    timestamp: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Recent {
    session_key: String,
    agent_id: String,
    /// `dm`, `group` or `sub-agent`.
    channel_type: &'static str,
    message_count: u64,
    /// Unix milliseconds.
    updated_at: Timestamp,
    /// Unix milliseconds.
    created_at: Timestamp,
}

async fn search(call: Call, params: Params) -> Result<Reply<Found>, OpError> {
    let words = params.query.as_deref().map(str::trim).filter(|words| !words.is_empty());
    let found = match words {
        Some(words) => hits(&call, words, params.scope, params.limit).await?,
        None => recent(&call, params.limit).await?,
    };
    Ok(found.into())
}

async fn hits(call: &Call, words: &str, scope: Said, limit: i64) -> Result<Found, OpError> {
    let main = default_agent(call);
    let limit = u32::try_from(limit.clamp(1, HITS_MAX)).unwrap_or(1);
    let agents: Vec<AgentId> = call.services.agents.list().iter().map(|agent| agent.id.clone()).collect();
    let mut results = Vec::new();
    for agent in agents {
        let query = SearchQuery { agent, text: words.to_owned(), session: None, roles: scope.roles(), limit };
        results.extend(call.services.sessions.search(query).await?.into_iter().map(|hit| Hit {
            session_key: spell(&hit.session_key, &main),
            agent_id: hit.session_key.agent().to_string(),
            channel_type: kind_of(&hit.session_key),
            snippet: hit.snippet,
            score: hit.score,
            timestamp: hit.message.created_at,
        }));
    }
    results.sort_by(|a, b| b.score.total_cmp(&a.score));
    results.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Found::Search { total: results.len(), results })
}

async fn recent(call: &Call, limit: i64) -> Result<Found, OpError> {
    let main = default_agent(call);
    let limit = u64::try_from(limit.clamp(1, RECENT_MAX)).unwrap_or(1);
    let page = call.services.sessions.list(SessionFilter { limit, ..SessionFilter::default() }).await?;
    let sessions = page.sessions.into_iter().map(|session| Recent {
        session_key: spell(&session.key, &main),
        agent_id: session.key.agent().to_string(),
        channel_type: kind_of(&session.key),
        message_count: session.message_count,
        updated_at: session.updated_at,
        created_at: session.created_at,
    });
    Ok(Found::Recent { sessions: sessions.collect(), total: page.total })
}
