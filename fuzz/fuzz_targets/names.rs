//! Topic patterns and session keys, as a client may send them: three lines, the pattern, a topic, a key.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{Pattern, SessionKey};

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let (pattern, topic, key) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    if let Ok(pattern) = Pattern::parse(pattern) {
        let _ = pattern.matches(topic);
        assert!(pattern.as_str().contains('*') || pattern.matches(pattern.as_str()), "a plain topic matches itself");
    }
    if let Ok(key) = SessionKey::parse(key) {
        let again = SessionKey::parse(key.as_str()).expect("a canonical key is a key");
        assert_eq!(again, key, "the canonical form is its own canonical form");
        let _ = (key.agent(), key.rest(), key.channel(), key.kind());
    }
});
