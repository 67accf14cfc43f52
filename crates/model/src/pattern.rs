//! Topic patterns, as in the published Aleph API.
//!
//! `*` or `**` alone matches everything; as the last segment it matches one or more remaining
//! segments; elsewhere a segment `*` matches exactly one; `*` inside a segment matches any run of
//! characters other than a dot.

use std::fmt;

/// Longest pattern, in characters.
pub const PATTERN_CHARS_MAX: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a topic pattern: {reason}")]
pub struct InvalidPattern {
    pub text: String,
    pub reason: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let fail = |reason| Err(InvalidPattern { text: text.chars().take(PATTERN_CHARS_MAX).collect(), reason });
        if text.is_empty() || text.len() > PATTERN_CHARS_MAX {
            return fail("it must have 1 to 128 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'*' | b'-')) {
            return fail("only A-Z a-z 0-9 _ . * - may occur");
        }
        if text.split('.').any(str::is_empty) {
            return fail("it has an empty segment");
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, topic: &str) -> bool {
        if self.0 == "*" || self.0 == "**" || self.0 == topic {
            return true;
        }
        let mut pattern = self.0.split('.').peekable();
        let mut segments = topic.split('.');
        while let Some(wanted) = pattern.next() {
            let Some(segment) = segments.next() else { return false };
            let is_last = pattern.peek().is_none();
            if is_last && (wanted == "*" || wanted == "**") {
                return true;
            }
            if !segment_matches(wanted.as_bytes(), segment.as_bytes()) {
                return false;
            }
        }
        segments.next().is_none()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Glob match of one segment with backtracking to the latest star: linear in practice and never
/// worse than the product of two lengths that are both bounded.
fn segment_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, star_t + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(topic))
    }

    #[test]
    fn the_published_examples_hold() {
        assert!(matches("stream.*", "stream.chunk"));
        assert!(matches("agent.*", "agent.completed"));
        assert!(matches("*.completed", "cron.completed"));
        assert!(matches("*", "guest.invitation.created"));
        assert!(matches("guest.*", "guest.invitation.created"));
        assert!(matches("exec.approval_*", "exec.approval_requested"));
        assert!(matches("*.comp*", "agent.completed"));
        assert!(!matches("stream.*", "stream"));
        assert!(!matches("*.completed", "a.b.completed"));
        assert!(!matches("stream.chunk", "stream.chunky"));
        assert!(!matches("Stream.*", "stream.chunk"));
    }

    #[test]
    fn bad_patterns_are_refused_with_a_reason() {
        for text in ["", "a..b", ".a", "a.", "a b", "a?", "{a,b}"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        assert!(Pattern::parse(&"a".repeat(129)).is_err());
    }

    proptest! {
        #[test]
        fn a_topic_matches_itself_and_every_star_of_its_segments(topic in "[a-z]{1,6}(\\.[a-z]{1,6}){0,3}", at in 0_usize..4) {
            prop_assert!(matches(&topic, &topic));
            let mut segments: Vec<&str> = topic.split('.').collect();
            let at = at % segments.len();
            segments[at] = "*";
            prop_assert!(matches(&segments.join("."), &topic));
        }

        #[test]
        fn no_input_panics(pattern in "\\PC{0,140}", topic in "\\PC{0,140}") {
            let _ = matches(&pattern, &topic);
        }
    }
}
