use model::{ErrorKind, OpError, Scope, SessionKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agent::run::{default_true, session_of};
use crate::{Call, Operation, Reply};

/// Remove the messages of a session and keep the session. Waits up to 30 s for an active run.
#[derive(JsonSchema)]
pub struct ChatClear;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    #[serde(default)]
    pub session_key: Option<String>,
    /// Keep system messages, such as the summary of a compaction.
    #[serde(default = "default_true")]
    pub keep_system: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// `false` when the session does not exist.
    pub cleared: bool,
    pub session_key: SessionKey,
    pub messages_removed: u64,
}

impl Operation for ChatClear {
    const NAME: &'static str = "chat.clear";
    const SCOPE: Option<Scope> = Some(Scope::Write);
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::Denied, ErrorKind::Timeout, ErrorKind::Unavailable];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let key = session_of(call, params.session_key.as_deref(), None, None)?;
        call.allow_session(&key)?;
        let removed = call.services.runs.clear_session(&key, params.keep_system).await?;
        Ok(Output { cleared: removed.is_some(), messages_removed: removed.unwrap_or(0), session_key: key }.into())
    }
}
