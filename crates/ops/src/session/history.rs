use model::{ErrorKind, Noun, OpError, Scope, SessionKey, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::sessions::MessagePage;

use super::parse_key;
use crate::text::MessageView;
use crate::{Call, Operation, Reply};

/// Read the newest messages of a session, oldest first, all roles.
///
/// `token_count` and `total` are of the whole session, not of this page.
#[derive(JsonSchema)]
pub struct SessionHistory;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    pub session_key: String,
    /// 1 to 1000.
    #[serde(default = "default_limit")]
    pub limit: i64,
    /// Only messages before this time, Unix milliseconds.
    #[serde(default)]
    pub before: Option<i64>,
}

const fn default_limit() -> i64 {
    100
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub messages: Vec<MessageView>,
    pub token_count: u64,
    pub session_key: SessionKey,
    /// Messages of the session.
    pub total: u64,
    /// Messages in this answer.
    pub count: usize,
}

impl Operation for SessionHistory {
    const NAME: &'static str = "session.history";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::NotFound(Noun::Session), ErrorKind::Denied];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let key = parse_key(&params.session_key)?;
        call.allow_session(&key)?;
        let limit = crate::utility::bounded("limit", params.limit, 1, 1000)?;
        let page = MessagePage { limit, before: params.before.map(Timestamp::from_ms), ..MessagePage::default() };
        let history = call.services.sessions.history(&key, page).await?;
        let history = history.ok_or_else(|| OpError::not_found(Noun::Session, &key))?;
        let messages: Vec<MessageView> = history.messages.into_iter().map(MessageView::from).collect();
        Ok(Output {
            count: messages.len(),
            messages,
            token_count: history.session.token_count,
            total: history.session.message_count,
            session_key: key,
        }
        .into())
    }
}
