//! Session keys: what clients write, the one canonical form, and how clients are told of it.

use std::borrow::Cow;

use model::session::InvalidSessionKey;
use model::{AgentId, OpError, SessionKey};
use sha2::{Digest, Sha256};

/// The key of an agent's main session, after the agent.
pub const MAIN: &str = "main";

/// Characters of a key that a client may write.
const CHARS_MAX: usize = 512;
/// Characters of one part of a stored key.
const PART_CHARS_MAX: usize = 128;

/// The canonical key of what a client wrote. A bare key belongs to `agent`, which is the default
/// agent unless the call names another. `field` is the parameter that an error names.
///
/// Every text of 1 to 512 characters is a key. What stored keys cannot hold is escaped, see
/// [`escape`]; a key in stored form is taken as it is.
pub fn canonical(text: &str, agent: &AgentId, field: &str) -> Result<SessionKey, OpError> {
    let key = text.trim().to_lowercase();
    if key.is_empty() {
        return Err(OpError::invalid(field, "must NOT have fewer than 1 characters"));
    }
    if key.chars().count() > CHARS_MAX {
        return Err(OpError::invalid(field, format!("must NOT have more than {CHARS_MAX} characters")));
    }
    if key.starts_with("subagent:agent:")
        && let Ok(known) = SessionKey::parse(&key)
    {
        return Ok(known);
    }
    let named = key.strip_prefix("agent:").and_then(|body| body.split_once(':'));
    let named = named.and_then(|(name, rest)| Some((AgentId::parse(&agent_part(name)).ok()?, rest)));
    let stored = match named {
        Some((agent, rest)) => SessionKey::of_agent(&agent, rest).or_else(|_| escaped(&agent, rest)),
        None if key.contains('%') => escaped(agent, &key),
        None => SessionKey::of_agent(agent, &key).or_else(|_| escaped(agent, &key)),
    };
    stored.map_err(|error| OpError::invalid(field, error))
}

/// Other characters of an agent's name become `-`.
fn agent_part(agent: &str) -> String {
    agent
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-' { c } else { '-' })
        .collect()
}

fn escaped(agent: &AgentId, rest: &str) -> Result<SessionKey, InvalidSessionKey> {
    let escaped: Vec<String> = rest.split(':').map(escape).collect();
    SessionKey::of_agent(agent, &escaped.join(":")).or_else(|_| {
        // Too long for its own form: a digest names it, one and the same each time.
        SessionKey::of_agent(agent, &format!("%~{}", hex::encode(Sha256::digest(rest))))
    })
}

/// One part of a key as stored keys hold it: blanks, control characters and `%` as `%` and two
/// hexadecimal digits for each byte, nothing as `%`, and `%` before a colon that only keeps the
/// part within its length.
fn escape(part: &str) -> String {
    if part.is_empty() {
        return String::from("%");
    }
    let (mut text, mut chars) = (String::with_capacity(part.len()), 0);
    for c in part.chars() {
        let unit = if c.is_whitespace() || c.is_control() || c == '%' {
            c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02x}")).collect()
        } else {
            c.to_string()
        };
        // One character is left for the mark.
        let more = unit.chars().count();
        if chars + more >= PART_CHARS_MAX {
            text.push_str("%:");
            chars = 0;
        }
        text.push_str(&unit);
        chars += more;
    }
    text
}

/// The reverse of [`escape`], for all parts; `None` when they were not made by it.
fn unescape(rest: &str) -> Option<String> {
    let (mut bytes, mut whole) = (Vec::with_capacity(rest.len()), rest.as_bytes());
    while let [first, after @ ..] = whole {
        whole = match (first, after) {
            (b'%', [b':', after @ ..]) if bytes.last().is_some_and(|last| *last != b':') => after,
            (b'%', [] | [b':', ..]) => after,
            (b'%', [high, low, after @ ..]) => {
                bytes.extend(hex::decode([*high, *low]).ok()?);
                after
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
}

/// How clients are told of a session: as it was written, with its agent before it. What they are
/// told is understood again.
pub fn spell(key: &SessionKey) -> Cow<'_, str> {
    let plain = || {
        if !key.as_str().contains('%') || key.as_str().starts_with("subagent:") {
            return None;
        }
        let agent = key.agent();
        let text = format!("agent:{agent}:{}", unescape(key.rest())?);
        (canonical(&text, &agent, "key").ok()? == *key).then_some(text)
    };
    plain().map_or(Cow::Borrowed(key.as_str()), Cow::Owned)
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
        // Without a session of the agent it is a bare key like any other.
        assert_eq!(key("agent:main"), "agent:main:agent:main");
    }

    #[test]
    fn every_text_is_a_key_and_is_told_as_it_was_written() {
        let long = "x".repeat(200);
        for (text, stored, told) in [
            ("my session", "agent:main:my%20session", "agent:main:my session"),
            ("A:b c", "agent:main:a:b%20c", "agent:main:a:b c"),
            ("agent:main:my session", "agent:main:my%20session", "agent:main:my session"),
            ("agent:main:my%20session", "agent:main:my%20session", "agent:main:my session"),
            ("100%", "agent:main:100%25", "agent:main:100%25"),
            ("a%20b", "agent:main:a%2520b", "agent:main:a%2520b"),
            ("a::b", "agent:main:a:%:b", "agent:main:a::b"),
            (":", "agent:main:%:%", "agent:main::"),
            ("a\tb", "agent:main:a%09b", "agent:main:a\tb"),
            ("agent::x", "agent:main:agent:%:x", "agent:main:agent::x"),
            ("agent:main:comis:t:u:%4dixed", "agent:main:comis:t:u:%4dixed", "agent:main:comis:t:u:%4dixed"),
            (&long, &format!("agent:main:{}%:{}", "x".repeat(127), "x".repeat(73)), &format!("agent:main:{long}")),
        ] {
            let main = AgentId::main();
            let parsed = canonical(text, &main, "key").unwrap();
            assert_eq!((parsed.as_str(), &*spell(&parsed)), (stored, told), "{text}");
            assert_eq!(canonical(told, &main, "key").unwrap(), parsed, "{told}");
        }
    }

    #[test]
    fn keys_at_the_bound_are_kept_apart() {
        let main = AgentId::main();
        let parse = |text: &str| canonical(text, &main, "key").unwrap();
        for unit in ["x", " ", "\u{e4}", "%", ":"] {
            let text = format!("a{}", unit.repeat(510));
            let (first, second) = (parse(&format!("{text}b")), parse(&format!("{text}c")));
            assert_ne!(first, second, "{unit}");
            assert_eq!(parse(&spell(&first)), first, "{unit}");
        }
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
