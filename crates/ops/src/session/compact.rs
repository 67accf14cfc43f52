use model::{ErrorKind, Noun, OpError, Scope, SessionKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::sessions::CompactOptions;

use super::parse_key;
use crate::{Call, Class, Operation, Reply};

/// Replace the older messages of a session by a summary and keep what they teach as facts.
///
/// Waits up to 30 s for an active run. Nothing changes when nothing would be gained.
#[derive(JsonSchema)]
pub struct SessionCompact;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    pub session_key: String,
    /// Newest messages to keep, 0 to 1000; absent = as configured.
    #[serde(default)]
    pub keep_recent: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub session_key: SessionKey,
    pub compacted: bool,
    pub tokens_before: u64,
    pub tokens_after: u64,
    pub messages_before: u64,
    pub messages_after: u64,
    /// Facts that were new.
    pub facts_extracted: u64,
    /// `nothing_to_compact` or `no_gain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl Operation for SessionCompact {
    const NAME: &'static str = "session.compact";
    const SCOPE: Option<Scope> = Some(Scope::Write);
    const CLASS: Class = Class::Write;
    const ERRORS: &'static [ErrorKind] = &[
        ErrorKind::NotFound(Noun::Session),
        ErrorKind::NotFound(Noun::Agent),
        ErrorKind::Timeout,
        ErrorKind::Unavailable,
    ];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let key = parse_key(&params.session_key)?;
        let keep_recent = match params.keep_recent {
            Some(keep) => Some(u32::try_from(crate::utility::bounded("keep_recent", keep, 0, 1000)?).unwrap_or(1000)),
            None => None,
        };
        let options = CompactOptions { keep_recent, ..CompactOptions::default() };
        let done = call.services.runs.compact(&key, options).await?;
        Ok(Output {
            session_key: key,
            compacted: done.compacted,
            tokens_before: done.tokens_before,
            tokens_after: done.tokens_after,
            messages_before: done.messages_before,
            messages_after: done.messages_after,
            facts_extracted: done.facts_extracted,
            reason: done.reason,
        }
        .into())
    }
}
