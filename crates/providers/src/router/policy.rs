//! How often to try again, and how long to leave a failing model alone.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Retries, waits and cooldown of model calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts at one model before the next one is asked; at least 1.
    pub attempts_max: u32,
    /// The wait after the first failure, in milliseconds; it doubles with each further one.
    pub backoff_base_ms: u64,
    /// The longest such wait, in milliseconds.
    pub backoff_max_ms: u64,
    /// The longest wait that a vendor may ask for with `Retry-After`, in milliseconds. A longer one
    /// sends the call to the next model.
    pub retry_after_max_ms: u64,
    /// How long a model that failed is left alone, in milliseconds; it doubles while it keeps failing.
    pub cooldown_base_ms: u64,
    /// The longest time that a failing model is left alone, in milliseconds.
    pub cooldown_max_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            backoff_base_ms: 500,
            backoff_max_ms: 8_000,
            retry_after_max_ms: 60_000,
            cooldown_base_ms: 30_000,
            cooldown_max_ms: 300_000,
        }
    }
}

impl RetryPolicy {
    /// What is wrong with it, as (key, message).
    pub fn validate(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(1..=20).contains(&self.attempts_max) {
            problems.push(("attempts_max".to_owned(), format!("{} is not between 1 and 20", self.attempts_max)));
        }
        for (key, base, max) in [
            ("backoff_max_ms", self.backoff_base_ms, self.backoff_max_ms),
            ("cooldown_max_ms", self.cooldown_base_ms, self.cooldown_max_ms),
        ] {
            if max < base {
                problems.push((key.to_owned(), format!("{max} is less than the {base} that it begins with")));
            }
        }
        problems
    }

    pub(super) fn retry_after_max(&self) -> Duration {
        Duration::from_millis(self.retry_after_max_ms)
    }
}

/// `base * 2^doublings`, at most `max`.
pub(super) fn doubled(base_ms: u64, doublings: u32, max_ms: u64) -> u64 {
    base_ms.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX)).min(max_ms)
}
