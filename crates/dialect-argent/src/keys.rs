//! Session keys: what clients write, and the one canonical form.

use model::session::SESSION_KEY_BYTES_MAX;
use model::{AgentId, OpError, SessionKey};

/// The key of an agent's main session, after the agent.
pub const MAIN: &str = "main";

/// The canonical key of what a client wrote. A bare key belongs to `agent`, which is the default
/// agent unless the call names another. `field` is the parameter that an error names.
pub fn canonical(text: &str, agent: &AgentId, field: &str) -> Result<SessionKey, OpError> {
    let key = text.trim().to_lowercase();
    if key.is_empty() {
        return Err(OpError::invalid(field, "must NOT have fewer than 1 characters"));
    }
    if key.len() > SESSION_KEY_BYTES_MAX {
        return Err(OpError::invalid(field, format!("must NOT have more than {SESSION_KEY_BYTES_MAX} characters")));
    }
    let whole = match key.strip_prefix("agent:") {
        Some(body) => match body.split_once(':') {
            Some((agent, rest)) => format!("agent:{}:{rest}", agent_part(agent)),
            None => return Err(OpError::invalid(field, format!("`{key}` names no session of its agent"))),
        },
        None if key.starts_with("subagent:agent:") => key,
        None => format!("agent:{agent}:{key}"),
    };
    SessionKey::parse(&whole).map_err(|error| OpError::invalid(field, error))
}

/// Other characters of an agent's name become `-`.
fn agent_part(agent: &str) -> String {
    agent
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-' { c } else { '-' })
        .collect()
}

/// `direct`, `group`, `global` or `unknown`.
pub fn kind(key: &SessionKey) -> &'static str {
    match key.rest() {
        "global" => "global",
        "unknown" => "unknown",
        rest if rest.split(':').any(|part| part == "group" || part == "channel") => "group",
        _ => "direct",
    }
}

/// The channel that a key names, if any.
pub fn channel(key: &SessionKey) -> Option<&str> {
    Some(key.channel()).filter(|channel| *channel != "gateway")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        canonical(text, &AgentId::main(), "sessionKey").map_or_else(|error| error.message, |key| key.to_string())
    }

    #[test]
    fn every_spelling_has_one_canonical_form() {
        assert_eq!(key("main"), "agent:main:main");
        assert_eq!(key(" Main "), "agent:main:main");
        assert_eq!(key("webchat"), "agent:main:webchat");
        assert_eq!(key("agent:Ops Team:DM:7"), "agent:ops-team:dm:7");
        assert_eq!(key("telegram:group:-5:thread:2"), "agent:main:telegram:group:-5:thread:2");
        assert_eq!(key("subagent:agent:main:x"), "subagent:agent:main:x");
        assert_eq!(key("  "), "sessionKey: must NOT have fewer than 1 characters");
        assert!(key(&"x".repeat(513)).contains("more than 512"));
        assert!(key("agent:main").contains("names no session"));
    }

    #[test]
    fn kinds_and_channels_are_read_off_the_key() {
        let parse = |text: &str| canonical(text, &AgentId::main(), "key").unwrap();
        assert_eq!(kind(&parse("telegram:group:5")), "group");
        assert_eq!(kind(&parse("slack:channel:c")), "group");
        assert_eq!(kind(&parse("main")), "direct");
        assert_eq!(kind(&parse("global")), "global");
        assert_eq!(channel(&parse("telegram:group:5")), Some("telegram"));
        assert_eq!(channel(&parse("main")), None);
    }
}
