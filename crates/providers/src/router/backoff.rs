//! Waits between attempts, spread so that many callers do not come back at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::policy::{RetryPolicy, doubled};

/// A source of jitter. Good enough to spread waits, for nothing else.
pub(super) struct Backoff {
    state: AtomicU64,
}

impl Backoff {
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// The wait after attempt number `attempt`, counted from 1: between half and all of the doubled base.
    pub fn wait(&self, policy: &RetryPolicy, attempt: u32) -> Duration {
        let full = doubled(policy.backoff_base_ms, attempt.saturating_sub(1), policy.backoff_max_ms);
        let half = full / 2;
        Duration::from_millis(half + self.next() % (full - half + 1))
    }

    /// SplitMix64.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_their_bounds_and_follow_the_seed() {
        let policy = RetryPolicy { backoff_base_ms: 100, backoff_max_ms: 500, ..RetryPolicy::default() };
        let waits = |seed| {
            let backoff = Backoff::new(seed);
            (1..=40).map(|attempt| backoff.wait(&policy, attempt).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
        assert!((50..=100).contains(&waits(1)[0]) && (100..=200).contains(&waits(1)[1]), "{:?}", waits(1));
        assert!(waits(1)[5..].iter().all(|wait| (250..=500).contains(wait)), "{:?}", waits(1));
    }
}
