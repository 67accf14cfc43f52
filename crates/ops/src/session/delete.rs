use model::{ErrorKind, Noun, OpError, Scope, SessionKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parse_key;
use crate::{Call, Class, Operation, Reply};

/// Delete a session with its messages. Its runs are cancelled first; facts that were learnt stay.
#[derive(JsonSchema)]
pub struct SessionDelete;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    pub session_key: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub deleted: bool,
    pub messages_removed: u64,
    pub session_key: SessionKey,
}

impl Operation for SessionDelete {
    const NAME: &'static str = "session.delete";
    const SCOPE: Option<Scope> = Some(Scope::Write);
    const CLASS: Class = Class::Write;
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::NotFound(Noun::Session), ErrorKind::Busy, ErrorKind::Unavailable];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let key = parse_key(&params.session_key)?;
        let messages_removed = call.services.runs.delete_session(&key).await?;
        Ok(Output { deleted: true, messages_removed, session_key: key }.into())
    }
}
