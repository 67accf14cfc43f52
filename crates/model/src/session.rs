//! Sessions and their keys.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{AgentId, SessionId};
use crate::model_ref::ModelRef;
use crate::thinking::Thinking;

/// Longest session key, in bytes.
pub const SESSION_KEY_BYTES_MAX: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a session key: {reason}")]
pub struct InvalidSessionKey {
    pub text: String,
    pub reason: &'static str,
}

/// The canonical name of a session: `agent:<agent>:<rest>` or `subagent:agent:<agent>:<sub>`,
/// lower-case. Dialects translate their own spellings before they make one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct SessionKey(Arc<str>);

/// What a session is for, read off its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    Main,
    Dm,
    Group,
    Task,
    Subagent,
    /// Never listed, dropped when its run ends.
    Ephemeral,
}

impl SessionKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            SessionKind::Main => "main",
            SessionKind::Dm => "dm",
            SessionKind::Group => "group",
            SessionKind::Task => "task",
            SessionKind::Subagent => "subagent",
            SessionKind::Ephemeral => "ephemeral",
        }
    }
}

impl SessionKey {
    /// `agent:<agent>:main`
    pub fn main(agent: &AgentId) -> Self {
        Self(Arc::from(format!("agent:{agent}:main")))
    }

    /// `agent:<agent>:<rest>`; the rest is checked like a key from outside.
    pub fn of_agent(agent: &AgentId, rest: &str) -> Result<Self, InvalidSessionKey> {
        Self::parse(&format!("agent:{agent}:{rest}"))
    }

    /// Trims and lower-cases, then checks the canonical form.
    pub fn parse(text: &str) -> Result<Self, InvalidSessionKey> {
        let fail = |reason| Err(InvalidSessionKey { text: text.chars().take(80).collect(), reason });
        let key = text.trim().to_lowercase();
        if key.len() > SESSION_KEY_BYTES_MAX {
            return fail("it is longer than 512 bytes");
        }
        let body = key.strip_prefix("subagent:").unwrap_or(&key);
        let Some(body) = body.strip_prefix("agent:") else {
            return fail("it must start with `agent:<agent>:`");
        };
        let Some((agent, rest)) = body.split_once(':') else {
            return fail("something must follow the agent");
        };
        if AgentId::parse(agent).is_err() {
            return fail("the agent must have 1 to 64 characters of a-z 0-9 _ -");
        }
        let legal = rest.split(':').all(|part| {
            (1..=128).contains(&part.chars().count()) && !part.chars().any(|c| c.is_whitespace() || c.is_control())
        });
        if !legal {
            return fail("each part must have 1 to 128 characters without spaces");
        }
        Ok(Self(Arc::from(key)))
    }

    /// For keys read back from our own store.
    pub fn trusted(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn body(&self) -> &str {
        let text = self.0.strip_prefix("subagent:").unwrap_or(&self.0);
        text.strip_prefix("agent:").unwrap_or(text)
    }

    pub fn agent(&self) -> AgentId {
        let name = self.body().split(':').next().unwrap_or("main");
        AgentId::parse(name).unwrap_or_else(|_| AgentId::main())
    }

    /// What follows `agent:<agent>:`.
    pub fn rest(&self) -> &str {
        self.body().split_once(':').map_or("", |(_, rest)| rest)
    }

    /// The channel named by the key, `gateway` where it names none.
    pub fn channel(&self) -> &str {
        let mut parts = self.rest().split(':');
        match (parts.next(), parts.next()) {
            (Some(channel), Some("dm" | "group" | "channel" | "thread")) => channel,
            (Some("comis"), Some(_)) => "comis",
            _ => "gateway",
        }
    }

    pub fn kind(&self) -> SessionKind {
        if self.0.starts_with("subagent:") {
            return SessionKind::Subagent;
        }
        let parts: Vec<&str> = self.rest().split(':').collect();
        if parts.contains(&"subagent") {
            return SessionKind::Subagent;
        }
        match parts.as_slice() {
            ["ephemeral", _] => SessionKind::Ephemeral,
            ["dm" | "peer", _] | [_, "dm", _] | [_, _, "dm", ..] => SessionKind::Dm,
            ["cron" | "webhook" | "scheduled" | "poe", ..] => SessionKind::Task,
            [_, "group" | "channel" | "thread", ..] => SessionKind::Group,
            _ => SessionKind::Main,
        }
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for SessionKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SessionKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A conversation with one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    pub key: SessionKey,
    /// The present transcript; a reset makes a new one.
    pub id: SessionId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Messages of the present transcript.
    pub message_count: u64,
    /// Tokens of the present transcript: the providers' numbers where known, else characters / 4.
    pub token_count: u64,
    /// Tokens used over the session's life, by direction.
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub last_compaction: Option<Timestamp>,
    /// The last run of the session was stopped before its end.
    pub aborted_last_run: bool,
    pub settings: SessionSettings,
}

/// What a user chose for one session; survives a reset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelRef>,
    /// How much of tool events clients are shown: `off`, `on`, `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbose: Option<String>,
    /// Whether reasoning text is streamed: `off`, `on`, `stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<SessionKey>,
    /// The session that this one was copied from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<SessionKey>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_canonical_and_tell_their_agent_and_kind() {
        let kinds = [
            ("agent:main:main", SessionKind::Main, "gateway"),
            (" Agent:Main:DM:Ann ", SessionKind::Dm, "gateway"),
            ("agent:main:telegram:dm:7", SessionKind::Dm, "telegram"),
            ("agent:main:telegram:group:-5:thread:2", SessionKind::Group, "telegram"),
            ("agent:main:cron:nightly", SessionKind::Task, "gateway"),
            ("subagent:agent:main:x", SessionKind::Subagent, "gateway"),
            ("agent:main:main:subagent:x", SessionKind::Subagent, "gateway"),
            ("agent:main:ephemeral:1", SessionKind::Ephemeral, "gateway"),
            ("agent:main:comis:default:u:c:d", SessionKind::Main, "comis"),
        ];
        for (text, kind, channel) in kinds {
            let key = SessionKey::parse(text).expect(text);
            assert_eq!((key.kind(), key.channel(), key.agent().as_str()), (kind, channel, "main"), "{text}");
        }
    }

    #[test]
    fn bad_keys_are_refused() {
        for text in [
            "",
            "main",
            "agent:",
            "agent:main",
            "agent:main:",
            "agent:a b:c",
            "agent:main:a b",
            "agent:../x:y",
            "agent:main::x",
        ] {
            assert!(SessionKey::parse(text).is_err(), "{text}");
        }
        assert!(SessionKey::parse(&format!("agent:main:{}", "x:".repeat(300))).is_err());
    }
}
