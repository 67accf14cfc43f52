//! What repeated calls are answered when there is no run to answer from: steering, stop words and
//! slash commands, remembered by idempotency key.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use model::Timestamp;
use serde_json::Value;

const TTL_MS: u64 = 300_000;
/// The oldest gives way.
const ENTRIES_MAX: usize = 1000;

#[derive(Default)]
pub struct Outcomes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_key: HashMap<String, (Timestamp, Value)>,
    order: VecDeque<String>,
}

impl Outcomes {
    pub fn get(&self, key: &str, now: Timestamp) -> Option<Value> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.by_key.get(key).filter(|(at, _)| now.ms_since(*at) < TTL_MS).map(|(_, value)| value.clone())
    }

    pub fn put(&self, key: String, now: Timestamp, value: Value) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(oldest) = state.order.front() {
            let is_over = state.by_key.get(oldest).is_none_or(|(at, _)| now.ms_since(*at) >= TTL_MS);
            if !is_over && state.order.len() < ENTRIES_MAX {
                break;
            }
            if let Some(oldest) = state.order.pop_front() {
                state.by_key.remove(&oldest);
            }
        }
        if state.by_key.insert(key.clone(), (now, value)).is_none() {
            state.order.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_kept_for_five_minutes_and_are_bounded() {
        let outcomes = Outcomes::default();
        let now = Timestamp::from_ms(0);
        outcomes.put("a".into(), now, Value::from(1));
        assert_eq!(outcomes.get("a", now.plus_ms(299_999)), Some(Value::from(1)));
        assert_eq!(outcomes.get("a", now.plus_ms(300_000)), None);
        for n in 0..ENTRIES_MAX {
            outcomes.put(n.to_string(), now, Value::Null);
        }
        assert_eq!(outcomes.get("a", now), None);
        assert_eq!(outcomes.state.lock().unwrap().by_key.len(), ENTRIES_MAX);
    }
}
