//! How one reply behaves: length, pace and faults.
//!
//! Defaults come from the command line. A request overrides them in its path
//! (`/tokens-500/delay-2/v1/chat/completions`) or in its model name
//! (`mock_tokens-500_delay-2`), because headers rarely survive a gateway.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Tokens (events) in a reply.
    pub tokens: u32,
    /// Milliseconds before the first byte of a reply.
    pub first_ms: u64,
    /// Milliseconds between two tokens of a stream.
    pub delay_ms: u64,
    /// Tokens put into one network write when there is no delay.
    pub coalesce: u32,
    /// Send the send time instead of words, see `benchkit::stamp`.
    pub stamp: bool,
    /// Seconds told in `Retry-After`.
    pub retry_after: u32,
    pub fault: Option<Fault>,
}

impl Default for Profile {
    fn default() -> Self {
        Profile { tokens: 32, first_ms: 0, delay_ms: 0, coalesce: 1, stamp: false, retry_after: 1, fault: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    pub kind: FaultKind,
    /// Faulty replies in a thousand, spread evenly.
    pub per_mille: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// Answer with this status and an error body.
    Status(u16),
    /// Read the request and never answer.
    Hang,
    /// Close the connection in the middle of the reply.
    Cut,
    /// Send an event that is not JSON in the middle of the stream.
    Garbage,
}

impl Profile {
    /// Applies the `key-value` words that are known and ignores every other word.
    pub fn apply<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for word in words {
            if let Some((key, value)) = word.split_once('-') {
                self.set(key, value);
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let number = value.parse::<u64>().ok();
        match (key, number) {
            ("tokens", Some(n)) => self.tokens = n as u32,
            ("first", Some(n)) => self.first_ms = n,
            ("delay", Some(n)) => self.delay_ms = n,
            ("coalesce", Some(n)) => self.coalesce = n.max(1) as u32,
            ("stamp", Some(n)) => self.stamp = n != 0,
            ("retry", Some(n)) => self.retry_after = n as u32,
            ("fault", None) => self.fault = parse_fault(value),
            ("fault", Some(_)) => self.fault = parse_fault(value),
            _ => {}
        }
    }
}

/// `KIND` or `KIND@PER_MILLE`; KIND is a status, `hang`, `cut` or `garbage`.
pub fn parse_fault(text: &str) -> Option<Fault> {
    let (kind, share) = text.split_once('@').unwrap_or((text, "1000"));
    let kind = match kind {
        "hang" => FaultKind::Hang,
        "cut" => FaultKind::Cut,
        "garbage" => FaultKind::Garbage,
        status => FaultKind::Status(status.parse().ok().filter(|s| (400..600).contains(s))?),
    };
    Some(Fault { kind, per_mille: share.parse().ok()? })
}

/// Spreads faults evenly over the replies: exactly `per_mille` of every 1,000.
#[derive(Default)]
pub struct FaultClock(AtomicU64);

impl FaultClock {
    pub fn due(&self, fault: Option<Fault>) -> Option<FaultKind> {
        let fault = fault?;
        let share = u64::from(fault.per_mille.min(1000));
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        ((turn + 1) * share / 1000 > turn * share / 1000).then_some(fault.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_override_defaults() {
        let mut profile = Profile::default();
        profile.apply("mock_tokens-500_delay-2_fault-429@50_other-x".split('_'));
        assert_eq!((profile.tokens, profile.delay_ms), (500, 2));
        assert_eq!(profile.fault, Some(Fault { kind: FaultKind::Status(429), per_mille: 50 }));
    }

    #[test]
    fn faults_are_exact() {
        let clock = FaultClock::default();
        let fault = parse_fault("cut@25");
        let hits = (0..4000).filter(|_| clock.due(fault).is_some()).count();
        assert_eq!(hits, 100);
    }
}
