//! `session.list`, `session.delete`, `session.reset`, `session.export`, `session.compact`: for administrators.

use dialect::MethodTable;
use model::{ErrorKind, Noun, OpError, Scope, Session, Timestamp};
use ops::{Call, Class, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::sessions::{CompactOptions, SessionFilter};

use super::find::{default_agent, find};
use super::transcript::{Export, Transcript, export, transcript};
use crate::session_key::{ComisKey, kind_of, spell};

/// Sessions that one call may name.
const KEYS_MAX: usize = 500;

const NO_SESSION: ErrorKind = ErrorKind::NotFound(Noun::Session);

pub(super) fn bind(table: &mut MethodTable) {
    let admin = Some(Scope::Admin);
    table.handle::<SessionList, ListParams, Listed, _, _>("session.list", admin, Class::Default, &[], list);
    let errors = &[NO_SESSION, ErrorKind::Busy, ErrorKind::Unavailable];
    table.handle::<SessionDelete, Named, Deleted, _, _>("session.delete", admin, Class::Write, errors, delete);
    table.handle::<SessionReset, Named, Reset, _, _>("session.reset", admin, Class::Write, errors, reset);
    table.handle::<SessionExport, Named, Exported, _, _>(
        "session.export",
        admin,
        Class::Heavy,
        &[NO_SESSION],
        export_named,
    );
    let errors = &[NO_SESSION, ErrorKind::Timeout, ErrorKind::Unavailable];
    table.handle::<SessionCompact, CompactParams, Compacted, _, _>(
        "session.compact",
        admin,
        Class::Heavy,
        errors,
        compact,
    );
}

/// List conversations, the most recently used first.
#[derive(JsonSchema)]
struct SessionList;

#[derive(Debug, Deserialize, JsonSchema)]
struct ListParams {
    #[serde(default)]
    kind: Kind,
    /// Only those used in the last so many minutes.
    #[serde(default)]
    since_minutes: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    All,
    SubAgent,
    Group,
    Dm,
}

impl Kind {
    fn matches(self, session: &Session) -> bool {
        match self {
            Kind::All => true,
            Kind::SubAgent => kind_of(&session.key) == "sub-agent",
            Kind::Group => kind_of(&session.key) == "group",
            Kind::Dm => kind_of(&session.key) == "dm",
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct Listed {
    sessions: Vec<Entry>,
    total: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Entry {
    session_key: String,
    agent_id: String,
    user_id: String,
    channel_id: String,
    /// `dm`, `group` or `sub-agent`.
    kind: &'static str,
    message_count: u64,
    /// Tokens of the present conversation.
    total_tokens: u64,
    /// Unix milliseconds.
    updated_at: Timestamp,
    /// Unix milliseconds.
    created_at: Timestamp,
}

async fn list(call: Call, params: ListParams) -> Result<Reply<Listed>, OpError> {
    let now = call.services.clock.now();
    let updated_since = params.since_minutes.map(|minutes| now.plus_ms(-i64::from(minutes) * 60_000));
    let main = default_agent(&call);
    let page = call.services.sessions.list(SessionFilter { updated_since, ..SessionFilter::default() }).await?;
    let entries = page.sessions.into_iter().filter(|session| params.kind.matches(session)).map(|session| {
        let ComisKey { user_id, channel_id, .. } = ComisKey::of(&session.key);
        Entry {
            session_key: spell(&session.key, &main),
            agent_id: session.key.agent().to_string(),
            user_id,
            channel_id,
            kind: kind_of(&session.key),
            message_count: session.message_count,
            total_tokens: session.token_count,
            updated_at: session.updated_at,
            created_at: session.created_at,
        }
    });
    let sessions: Vec<Entry> = entries.collect();
    Ok(Listed { total: sessions.len(), sessions }.into())
}

/// One conversation, or several.
#[derive(Debug, Deserialize, JsonSchema)]
struct Named {
    /// A canonical or formatted key, or a channel.
    #[serde(default, alias = "key")]
    session_key: Option<String>,
    /// Up to 500 of them instead; those that do not exist are passed over.
    #[serde(default)]
    keys: Option<Vec<String>>,
}

enum Which {
    One(String),
    Several(Vec<String>),
}

impl Named {
    fn which(self) -> Result<Which, OpError> {
        match (self.session_key, self.keys) {
            (Some(key), _) => Ok(Which::One(key)),
            (None, Some(keys)) if keys.len() <= KEYS_MAX => Ok(Which::Several(keys)),
            (None, Some(keys)) => {
                Err(OpError::invalid("keys", format!("has {} entries; at most {KEYS_MAX} are accepted", keys.len())))
            }
            (None, None) => Err(OpError::invalid("session_key", "is required")),
        }
    }
}

/// The sessions of a list that exist.
async fn found(call: &Call, keys: &[String]) -> Result<Vec<Session>, OpError> {
    let mut sessions: Vec<Session> = Vec::new();
    for key in keys {
        match find(call, key).await {
            Ok(session) if sessions.iter().any(|known| known.key == session.key) => {}
            Ok(session) => sessions.push(session),
            Err(error) if error.kind == NO_SESSION => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sessions)
}

/// Delete a conversation and give back what it held. Its turns are cancelled first.
#[derive(JsonSchema)]
struct SessionDelete;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Deleted {
    #[serde(rename_all = "camelCase")]
    One {
        session_key: String,
        deleted: bool,
        transcript: Transcript,
    },
    Several {
        deleted: usize,
    },
}

async fn delete(call: Call, params: Named) -> Result<Reply<Deleted>, OpError> {
    let done = match params.which()? {
        Which::One(name) => {
            let session = find(&call, &name).await?;
            let transcript = transcript(&call, &session).await?;
            call.services.runs.delete_session(&session.key).await?;
            Deleted::One { session_key: name, deleted: true, transcript }
        }
        Which::Several(keys) => {
            let mut deleted = 0;
            for session in found(&call, &keys).await? {
                call.services.runs.delete_session(&session.key).await?;
                deleted += 1;
            }
            Deleted::Several { deleted }
        }
    };
    Ok(done.into())
}

/// Begin a conversation anew. Its turns are cancelled first; what was chosen for it stays.
#[derive(JsonSchema)]
struct SessionReset;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Reset {
    #[serde(rename_all = "camelCase")]
    One {
        session_key: String,
        reset: bool,
        previous_message_count: u64,
    },
    Several {
        reset: usize,
    },
}

async fn reset(call: Call, params: Named) -> Result<Reply<Reset>, OpError> {
    let done = match params.which()? {
        Which::One(name) => {
            let session = find(&call, &name).await?;
            call.services.runs.reset_session(&session.key, "reset").await?;
            Reset::One { session_key: name, reset: true, previous_message_count: session.message_count }
        }
        Which::Several(keys) => {
            let mut reset = 0;
            for session in found(&call, &keys).await? {
                call.services.runs.reset_session(&session.key, "reset").await?;
                reset += 1;
            }
            Reset::Several { reset }
        }
    };
    Ok(done.into())
}

/// Read a whole conversation; several are given as one text with one conversation a line.
#[derive(JsonSchema)]
struct SessionExport;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Exported {
    One(Box<Export>),
    /// JSON lines.
    Several(String),
}

async fn export_named(call: Call, params: Named) -> Result<Reply<Exported>, OpError> {
    let done = match params.which()? {
        Which::One(name) => {
            let session = find(&call, &name).await?;
            Exported::One(Box::new(export(&call, &session, name).await?))
        }
        Which::Several(keys) => {
            let main = default_agent(&call);
            let mut lines = String::new();
            for session in found(&call, &keys).await? {
                let export = export(&call, &session, spell(&session.key, &main)).await?;
                lines.push_str(&serde_json::to_string(&export).map_err(OpError::internal)?);
                lines.push('\n');
            }
            Exported::Several(lines)
        }
    };
    Ok(done.into())
}

/// Replace the older messages of a conversation by a summary. Waits up to 30 s for an active turn.
#[derive(JsonSchema)]
struct SessionCompact;

#[derive(Debug, Deserialize, JsonSchema)]
struct CompactParams {
    /// A canonical or formatted key, or a channel.
    #[serde(alias = "key")]
    session_key: String,
    /// Guidance for the summary.
    #[serde(default)]
    instructions: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Compacted {
    session_key: String,
    /// Messages afterwards.
    message_count: u64,
    /// Tokens afterwards.
    estimated_tokens: u64,
    compaction_triggered: bool,
    instructions: Option<String>,
}

async fn compact(call: Call, params: CompactParams) -> Result<Reply<Compacted>, OpError> {
    let session = find(&call, &params.session_key).await?;
    let options = CompactOptions { instructions: params.instructions.clone(), ..CompactOptions::default() };
    let done = call.services.runs.compact(&session.key, options).await?;
    Ok(Compacted {
        session_key: params.session_key,
        message_count: done.messages_after,
        estimated_tokens: done.tokens_after,
        compaction_triggered: true,
        instructions: params.instructions,
    }
    .into())
}
