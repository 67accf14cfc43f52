//! Models that failed for good and are left alone for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{ModelRef, Timestamp};

use super::policy::{RetryPolicy, doubled};

/// No vendor keeps us away longer than this, whatever it asks for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// Models remembered at once. When more have failed, those whose time is over are forgotten, then all.
const ENTRIES_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Cooldowns {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of the registry; a new set of providers starts with a clean record.
    generation: u64,
    entries: HashMap<ModelRef, Entry>,
}

struct Entry {
    until: Timestamp,
    /// In a row.
    failures: u32,
}

impl Cooldowns {
    pub fn start_generation(&self, generation: u64) {
        let mut state = self.state();
        if state.generation != generation {
            *state = State { generation, entries: HashMap::new() };
        }
    }

    pub fn holds(&self, model: &ModelRef, now: Timestamp) -> bool {
        self.state().entries.get(model).is_some_and(|entry| entry.until > now)
    }

    /// One more failure in a row; `asked_wait` is what the vendor itself asked for.
    pub fn add(&self, model: &ModelRef, policy: &RetryPolicy, asked_wait: Duration, now: Timestamp) {
        let mut state = self.state();
        if state.entries.len() >= ENTRIES_MAX && !state.entries.contains_key(model) {
            state.entries.retain(|_, entry| entry.until > now);
            if state.entries.len() >= ENTRIES_MAX {
                state.entries.clear();
            }
        }
        let entry = state.entries.entry(model.clone()).or_insert(Entry { until: now, failures: 0 });
        let own_ms = doubled(policy.cooldown_base_ms, entry.failures, policy.cooldown_max_ms);
        let asked_ms = u64::try_from(asked_wait.min(RETRY_AFTER_MAX).as_millis()).unwrap_or(u64::MAX);
        entry.failures += 1;
        entry.until = now.plus_ms(i64::try_from(own_ms.max(asked_ms)).unwrap_or(i64::MAX));
    }

    pub fn clear(&self, model: &ModelRef) {
        self.state().entries.remove(model);
    }

    pub fn list(&self, now: Timestamp) -> Vec<(ModelRef, Duration)> {
        let state = self.state();
        let mut list: Vec<_> = state
            .entries
            .iter()
            .filter(|(_, entry)| entry.until > now)
            .map(|(model, entry)| (model.clone(), Duration::from_millis(entry.until.ms_since(now))))
            .collect();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
