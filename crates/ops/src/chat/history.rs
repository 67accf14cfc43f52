use model::{ErrorKind, Message, OpError, Role, Scope, SessionKey, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::sessions::MessagePage;

use crate::agent::run::session_of;
use crate::{Call, Operation, Reply};

/// Read what was said in a session: messages of user and assistant that have text, oldest first.
/// An unknown session is an empty chat.
#[derive(JsonSchema)]
pub struct ChatHistory;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    #[serde(default)]
    pub session_key: Option<String>,
    /// 1 to 1000, the newest.
    #[serde(default = "default_limit")]
    pub limit: i64,
    /// RFC 3339, or Unix milliseconds.
    #[serde(default)]
    pub before: Option<Before>,
}

const fn default_limit() -> i64 {
    50
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Before {
    Ms(i64),
    Iso(String),
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub messages: Vec<ChatMessage>,
    pub session_key: SessionKey,
    pub count: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ChatMessage {
    /// `user` or `assistant`.
    pub role: &'static str,
    pub content: String,
    /// RFC 3339, UTC.
    pub timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

impl Operation for ChatHistory {
    const NAME: &'static str = "chat.history";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::Denied];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let key = session_of(call, params.session_key.as_deref(), None, None)?;
        call.allow_session(&key)?;
        let limit = crate::utility::bounded("limit", params.limit, 1, 1000)?;
        let before = match params.before {
            None => None,
            Some(Before::Ms(ms)) => Some(Timestamp::from_ms(ms)),
            Some(Before::Iso(text)) => {
                let time = Timestamp::parse_iso(&text);
                Some(time.ok_or_else(|| {
                    OpError::invalid("before", format!("`{text}` is neither RFC 3339 nor milliseconds"))
                })?)
            }
        };
        // Assistant messages without text (tool calls alone) are left out after reading, so read more.
        let page = MessagePage {
            roles: vec![Role::User, Role::Assistant],
            before,
            limit: limit * 4,
            ..MessagePage::default()
        };
        let history = call.services.sessions.history(&key, page).await?;
        let all = history.map(|history| history.messages).unwrap_or_default();
        let mut messages: Vec<ChatMessage> = all.into_iter().filter_map(chat_message).collect();
        let surplus = messages.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        messages.drain(..surplus);
        Ok(Output { count: messages.len(), messages, session_key: key }.into())
    }
}

fn chat_message(message: Message) -> Option<ChatMessage> {
    let content = message.body.content.text().into_owned();
    (!content.is_empty()).then(|| ChatMessage {
        role: message.body.role.as_str(),
        content,
        timestamp: message.created_at.to_iso(),
        run_id: message.run_id.map(|id| id.to_string()),
    })
}
