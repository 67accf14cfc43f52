//! Comis's names of sessions and ours.
//!
//! `tenant:user:channel` is `agent:<agent>:comis:<tenant>:<user>:<channel>`; a key in canonical form
//! is taken as it is; any other text is a channel of the user `web-user`. Our keys are lower-case
//! and without spaces, so what they cannot hold is written as `%` and two hexadecimal digits.

use model::{AgentId, InvalidSessionKey, SessionKey, SessionKind};
use serde::Serialize;

/// The channel of a chat that names none; it is the agent's main session.
pub const GATEWAY_CHANNEL: &str = "gateway";
/// The user of a chat that names no session.
pub const RPC_USER: &str = "rpc-client";
/// The user of a chat whose session is not a formatted key.
pub const WEB_USER: &str = "web-user";
const TENANT: &str = "default";
/// What marks the keys of this dialect among the canonical ones.
const MARK: &str = "comis";
/// Words that end the channel in a formatted key.
const TAGS: [&str; 3] = ["peer", "guild", "thread"];

/// The object form of a session key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComisKey {
    pub tenant_id: String,
    pub user_id: String,
    pub channel_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guild_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// A session that a request means, and what the answer calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub session: SessionKey,
    pub channel: String,
}

impl Target {
    /// The session of a chat that names none.
    pub fn main(agent: &AgentId) -> Self {
        Self { session: SessionKey::main(agent), channel: GATEWAY_CHANNEL.to_owned() }
    }

    /// The session that a client's text means: a canonical key, a formatted key, or a channel.
    pub fn parse(text: &str, agent: &AgentId) -> Result<Self, InvalidSessionKey> {
        if let Some(session) = canonical(text) {
            return Ok(Self { session, channel: text.to_owned() });
        }
        let key = ComisKey::parse(text).unwrap_or_else(|| ComisKey::of_channel(WEB_USER, text));
        Ok(Self { session: key.session(agent)?, channel: key.channel_id })
    }
}

/// A text that is one of our own keys.
pub fn canonical(text: &str) -> Option<SessionKey> {
    SessionKey::parse(text).ok()
}

impl ComisKey {
    pub fn of_channel(user: &str, channel: &str) -> Self {
        Self {
            tenant_id: TENANT.to_owned(),
            user_id: user.to_owned(),
            channel_id: channel.to_owned(),
            peer_id: None,
            guild_id: None,
            thread_id: None,
            agent_id: None,
        }
    }

    /// Reads `tenant:user:channel[:peer:<id>][:guild:<id>][:thread:<id>]`; the channel may hold
    /// colons. `None` when the text is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let [tenant, user, rest @ ..] = parts.as_slice() else { return None };
        let end = rest.iter().skip(1).position(|part| TAGS.contains(part)).map_or(rest.len(), |at| at + 1);
        let (channel, mut tagged) = rest.split_at_checked(end)?;
        if channel.is_empty() {
            return None;
        }
        let mut key = Self::of_channel(user, &channel.join(":"));
        key.tenant_id = (*tenant).to_owned();
        while let [tag, rest @ ..] = tagged {
            let end = rest.iter().skip(1).position(|part| TAGS.contains(part)).map_or(rest.len(), |at| at + 1);
            let (value, others) = rest.split_at_checked(end).filter(|(value, _)| !value.is_empty())?;
            let place = match *tag {
                "peer" => &mut key.peer_id,
                "guild" => &mut key.guild_id,
                _ => &mut key.thread_id,
            };
            *place = Some(value.join(":"));
            tagged = others;
        }
        Some(key)
    }

    /// The string form, without an agent.
    pub fn format(&self) -> String {
        let Self { tenant_id, user_id, channel_id, .. } = self;
        let mut text = format!("{tenant_id}:{user_id}:{channel_id}");
        for (tag, value) in self.tagged() {
            text.push_str(&format!(":{tag}:{value}"));
        }
        text
    }

    fn tagged(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = [("peer", &self.peer_id), ("guild", &self.guild_id), ("thread", &self.thread_id)];
        values.into_iter().filter_map(|(tag, value)| Some((tag, value.as_deref()?)))
    }

    /// The canonical key. Fails when it would be longer than keys may be.
    pub fn session(&self, agent: &AgentId) -> Result<SessionKey, InvalidSessionKey> {
        let mut rest = format!("{MARK}:{}:{}", escape(&self.tenant_id), escape(&self.user_id));
        for part in self.channel_id.split(':') {
            rest.push(':');
            rest.push_str(&escape(part));
        }
        for (tag, value) in self.tagged() {
            rest.push_str(&format!(":{tag}:{}", escape(value)));
        }
        SessionKey::of_agent(agent, &rest)
    }

    /// What Comis calls a session. Sessions of other dialects have their canonical key as channel,
    /// which every request understands.
    pub fn of(session: &SessionKey) -> Self {
        let agent_id = Some(session.agent().to_string());
        if let Some(key) = own(session) {
            return Self { agent_id, ..key };
        }
        let is_main = session.rest() == "main" && session.kind() == SessionKind::Main;
        let channel = if is_main { GATEWAY_CHANNEL } else { session.as_str() };
        Self { agent_id, ..Self::of_channel(RPC_USER, channel) }
    }
}

/// A key made by this dialect, read back.
fn own(session: &SessionKey) -> Option<ComisKey> {
    if session.kind() == SessionKind::Subagent {
        return None;
    }
    let key = ComisKey::parse(session.rest().strip_prefix(MARK)?.strip_prefix(':')?)?;
    let channel: Vec<String> = key.channel_id.split(':').map(unescape).collect();
    Some(ComisKey {
        tenant_id: unescape(&key.tenant_id),
        user_id: unescape(&key.user_id),
        channel_id: channel.join(":"),
        peer_id: key.peer_id.as_deref().map(unescape),
        guild_id: key.guild_id.as_deref().map(unescape),
        thread_id: key.thread_id.as_deref().map(unescape),
        agent_id: None,
    })
}

/// How Comis writes a session in one string: its own form for its own sessions of the default
/// agent, the canonical key for all others. Either is understood again.
pub fn spell(session: &SessionKey, default_agent: &AgentId) -> String {
    match own(session) {
        Some(key) if session.agent() == *default_agent => key.format(),
        _ => session.as_str().to_owned(),
    }
}

/// The channel that answers and events name.
pub fn channel_of(session: &SessionKey) -> String {
    ComisKey::of(session).channel_id
}

/// `dm`, `group` or `sub-agent`.
pub fn kind_of(session: &SessionKey) -> &'static str {
    match session.kind() {
        SessionKind::Subagent => "sub-agent",
        SessionKind::Group => "group",
        _ if own(session).is_some_and(|key| key.guild_id.is_some()) => "group",
        _ => "dm",
    }
}

fn escape(part: &str) -> String {
    if part.is_empty() {
        return String::from("%");
    }
    let mut text = String::with_capacity(part.len());
    for c in part.chars() {
        let changes = !c.to_lowercase().eq(std::iter::once(c));
        if changes || c.is_whitespace() || c.is_control() || matches!(c, '%' | ':') {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                text.push_str(&format!("%{byte:02x}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}

fn unescape(part: &str) -> String {
    if part == "%" {
        return String::new();
    }
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_of(text: &str) -> String {
        Target::parse(text, &AgentId::main())
            .map_or_else(|error| error.reason.to_owned(), |target| target.session.to_string())
    }

    #[test]
    fn what_clients_send_has_one_canonical_key() {
        for (text, session) in [
            ("agent:main:main", "agent:main:main"),
            ("Agent:Work:telegram:dm:7", "agent:work:telegram:dm:7"),
            ("default:alice:web", "agent:main:comis:default:alice:web"),
            ("default:alice:web:tab:2", "agent:main:comis:default:alice:web:tab:2"),
            ("t:u:c:peer:p:guild:g:thread:1", "agent:main:comis:t:u:c:peer:p:guild:g:thread:1"),
            ("my chat", "agent:main:comis:default:web-user:my%20chat"),
            ("Mixed", "agent:main:comis:default:web-user:%4dixed"),
            ("a:b", "agent:main:comis:default:web-user:a:b"),
            ("t::c", "agent:main:comis:t:%:c"),
            ("100%", "agent:main:comis:default:web-user:100%25"),
        ] {
            assert_eq!(canonical_of(text), session, "{text}");
        }
        assert!(canonical_of(&"x".repeat(200)).contains("128 characters"));
    }

    #[test]
    fn keys_come_back_as_they_were_sent() {
        for text in ["default:Alice:Web One", "t:u:c:d", "t:u:C:peer:P", "t::x", "t:u:c:guild:g", "ä:Ö:%20"] {
            let target = Target::parse(text, &AgentId::main()).expect(text);
            assert_eq!(spell(&target.session, &AgentId::main()), text);
        }
        let other = SessionKey::parse("agent:work:comis:t:u:c").unwrap();
        assert_eq!(spell(&other, &AgentId::main()), "agent:work:comis:t:u:c");
        assert_eq!(spell(&SessionKey::main(&AgentId::main()), &AgentId::main()), "agent:main:main");
    }

    #[test]
    fn every_session_has_an_object_form() {
        let object = |key: &str| serde_json::to_value(ComisKey::of(&SessionKey::parse(key).unwrap())).unwrap();
        let expected = serde_json::json!({ "tenantId": "default", "userId": "rpc-client", "channelId": "gateway", "agentId": "main" });
        assert_eq!(object("agent:main:main"), expected);
        let expected =
            serde_json::json!({ "tenantId": "t", "userId": "u", "channelId": "c:d", "peerId": "p", "agentId": "work" });
        assert_eq!(object("agent:work:comis:t:u:c:d:peer:p"), expected);
        assert_eq!(object("agent:main:telegram:dm:7")["channelId"], "agent:main:telegram:dm:7");
    }

    #[test]
    fn kinds_are_read_off_the_key() {
        let kind = |key: &str| kind_of(&SessionKey::parse(key).unwrap());
        assert_eq!(kind("agent:main:main"), "dm");
        assert_eq!(kind("agent:main:comis:t:u:c:guild:g"), "group");
        assert_eq!(kind("agent:main:telegram:group:-5"), "group");
        assert_eq!(kind("subagent:agent:main:x"), "sub-agent");
    }

    #[test]
    fn a_tag_without_a_value_is_no_formatted_key() {
        assert_eq!(ComisKey::parse("a:b"), None);
        assert_eq!(ComisKey::parse("a:b:c:peer"), None);
        assert_eq!(ComisKey::parse("a:b:peer").map(|key| key.channel_id), Some("peer".into()));
    }
}
