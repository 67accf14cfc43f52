//! What was said in a channel.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use dialect::contract_http::Route;
use dialect::http::first;
use model::{AgentId, Message, OpError, Role, SessionKey};
use schemars::JsonSchema;
use serde::Serialize;
use services::sessions::MessagePage;

use super::shared::{Routes, with_refusals};
use crate::Comis;
use crate::errors::{ErrorBody, json_response, refusal, response};
use crate::session_key::{ComisKey, GATEWAY_CHANNEL, RPC_USER, WEB_USER, canonical};

/// Messages of each session that the answer is merged from, the newest.
const MESSAGES_MAX: u64 = 1000;

/// Read what was said in a channel, oldest first; an unknown channel is empty.
///
/// A channel is looked up for both users of the API and merged by time. A formatted or canonical
/// session key names exactly that session.
#[derive(JsonSchema)]
struct ChatHistory;

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read by name; this is its published shape")]
struct Query {
    /// A channel or a session key; `gateway` when absent.
    channel_id: Option<String>,
    /// The default agent when absent.
    agent_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Messages {
    messages: Vec<Said>,
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Said {
    /// `user` or `assistant`.
    pub role: &'static str,
    pub content: String,
    /// Unix milliseconds.
    pub timestamp: i64,
}

/// A message as a chat shows it; `None` for one without text.
pub(crate) fn said(message: &Message) -> Option<Said> {
    let content = message.body.content.text().into_owned();
    let timestamp = message.created_at.as_ms();
    (!content.is_empty()).then(|| Said { role: message.body.role.as_str(), content, timestamp })
}

pub(super) fn add(table: &mut Routes) {
    let route = Route::get::<ChatHistory>("/api/chat/history", "chatHistory")
        .query::<Query>()
        .answer::<Messages>(200, "the messages")
        .answer::<ErrorBody>(400, "the agent is unknown");
    table.add(with_refusals(route), get(history));
}

async fn history(State(comis): State<Arc<Comis>>, RawQuery(query): RawQuery) -> Response {
    let query = query.as_deref();
    let agent = match comis.agent(first(query, "agentId").as_deref()) {
        Ok(agent) => agent,
        Err(words) => return refusal(StatusCode::BAD_REQUEST, words),
    };
    let channel = first(query, "channelId").filter(|channel| !channel.is_empty());
    let sessions = sessions_of(channel.as_deref().unwrap_or(GATEWAY_CHANNEL), &agent);
    match messages_of(&comis, sessions).await {
        Ok(messages) => json_response(StatusCode::OK, &Messages { messages }),
        Err(error) => response(&error),
    }
}

/// Every session that a channel may mean. A name too long for a key has no session.
fn sessions_of(channel: &str, agent: &AgentId) -> Vec<SessionKey> {
    let mut sessions = Vec::new();
    if channel == GATEWAY_CHANNEL {
        sessions.push(SessionKey::main(agent));
    }
    sessions.extend(canonical(channel));
    sessions.extend(ComisKey::parse(channel).and_then(|key| key.session(agent).ok()));
    sessions.extend(
        [RPC_USER, WEB_USER].into_iter().filter_map(|user| ComisKey::of_channel(user, channel).session(agent).ok()),
    );
    sessions
}

async fn messages_of(comis: &Comis, sessions: Vec<SessionKey>) -> Result<Vec<Said>, OpError> {
    let mut found = Vec::new();
    for session in sessions {
        let page =
            MessagePage { roles: vec![Role::User, Role::Assistant], limit: MESSAGES_MAX, ..MessagePage::default() };
        let history = comis.services().sessions.history(&session, page).await?;
        found.extend(history.into_iter().flat_map(|history| history.messages).filter_map(|message| said(&message)));
    }
    // Stable: messages of one session stay in their order.
    found.sort_by_key(|said| said.timestamp);
    Ok(found)
}
