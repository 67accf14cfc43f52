//! Calls per identity and class in a sliding window of a minute.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use model::Timestamp;
use ops::Class;

use crate::settings::RateLimit;

const WINDOW_MS: u64 = 60_000;
const LOCK_OUT_MS: i64 = 300_000;
/// Identities remembered; beyond it those with an empty window are forgotten.
const IDENTITIES_MAX: usize = 10_000;

#[derive(Default)]
pub struct Limiter {
    windows: Mutex<HashMap<(String, Kind), Window>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Auth,
    Call(Class),
}

#[derive(Default)]
struct Window {
    calls: VecDeque<Timestamp>,
    locked_until: Option<Timestamp>,
}

impl Limiter {
    /// Counts a call; `Err` tells after how many milliseconds the next one is welcome.
    pub fn call(&self, limits: &RateLimit, identity: &str, class: Class, now: Timestamp) -> Result<(), u64> {
        let max = match class {
            Class::Default => limits.default,
            Class::Write => limits.write,
            Class::Heavy => limits.heavy,
        };
        self.with(identity, Kind::Call(class), now, |window| window.count(max, now))
    }

    /// Whether an identity may try to authenticate.
    pub fn may_authenticate(&self, identity: &str, now: Timestamp) -> Result<(), u64> {
        self.with(identity, Kind::Auth, now, |window| match window.locked_until {
            Some(until) if until > now => Err(until.ms_since(now)),
            _ => Ok(()),
        })
    }

    /// Counts a failed authentication; at the limit the identity is locked out for five minutes.
    pub fn failed(&self, limits: &RateLimit, identity: &str, now: Timestamp) {
        let _ = self.with(identity, Kind::Auth, now, |window| {
            let counted = window.count(limits.auth, now);
            if window.calls.len() >= limits.auth as usize {
                window.locked_until = Some(now.plus_ms(LOCK_OUT_MS));
            }
            counted
        });
    }

    fn with(
        &self,
        identity: &str,
        kind: Kind,
        now: Timestamp,
        check: impl FnOnce(&mut Window) -> Result<(), u64>,
    ) -> Result<(), u64> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= IDENTITIES_MAX {
            windows.retain(|_, window| window.is_alive(now));
        }
        check(windows.entry((identity.to_owned(), kind)).or_default())
    }
}

impl Window {
    fn count(&mut self, max: u32, now: Timestamp) -> Result<(), u64> {
        while self.calls.front().is_some_and(|at| now.ms_since(*at) >= WINDOW_MS) {
            self.calls.pop_front();
        }
        if self.calls.len() >= max as usize {
            return Err(self.calls.front().map_or(WINDOW_MS, |at| WINDOW_MS - now.ms_since(*at)));
        }
        self.calls.push_back(now);
        Ok(())
    }

    fn is_alive(&self, now: Timestamp) -> bool {
        self.calls.back().is_some_and(|at| now.ms_since(*at) < WINDOW_MS)
            || self.locked_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_and_tells_when_to_come_back() {
        let (limiter, limits) = (Limiter::default(), RateLimit { heavy: 2, ..RateLimit::default() });
        let at = |ms| Timestamp::from_ms(ms);
        let call = |ms| limiter.call(&limits, "ann", Class::Heavy, at(ms));
        assert_eq!((call(0), call(10_000), call(20_000)), (Ok(()), Ok(()), Err(40_000)));
        assert_eq!(call(60_000), Ok(()));
        assert_eq!(limiter.call(&limits, "bob", Class::Heavy, at(20_000)), Ok(()));
    }

    #[test]
    fn too_many_wrong_tokens_lock_out() {
        let (limiter, limits) = (Limiter::default(), RateLimit { auth: 2, ..RateLimit::default() });
        let at = |ms| Timestamp::from_ms(ms);
        for _ in 0..2 {
            assert_eq!(limiter.may_authenticate("ann", at(1)), Ok(()));
            limiter.failed(&limits, "ann", at(1));
        }
        assert_eq!(limiter.may_authenticate("ann", at(2)), Err(299_999));
        assert_eq!(limiter.may_authenticate("ann", at(300_002)), Ok(()));
    }
}
