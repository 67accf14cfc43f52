//! How often one caller may ask: fixed windows, counted in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use model::Timestamp;

/// Callers counted at a time. Beyond it windows that are over are forgotten first; when that frees
/// nothing, further callers share one window.
pub const RATE_KEYS_MAX: usize = 65_536;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    pub is_admitted: bool,
    pub limit: u64,
    pub remaining: u64,
    pub window_s: u64,
    /// Whole seconds to the end of the window, rounded up.
    pub reset_s: u64,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    opened_at: Timestamp,
    requests: u64,
}

/// The first request of a key opens a window; requests beyond the limit inside it are refused and
/// count too.
#[derive(Debug, Default)]
pub struct RateLimiter {
    windows: Mutex<HashMap<Arc<str>, Window>>,
}

impl RateLimiter {
    pub fn admit(&self, key: &str, now: Timestamp, window_ms: u64, max_requests: u64) -> Admission {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |window: &Window| now.ms_since(window.opened_at) >= window_ms || now < window.opened_at;
        let key = if windows.contains_key(key) { key } else { place_for(&mut windows, key, is_over) };
        let window = match windows.get_mut(key) {
            Some(window) => window,
            None => windows.entry(Arc::from(key)).or_insert(Window { opened_at: now, requests: 0 }),
        };
        if is_over(window) {
            *window = Window { opened_at: now, requests: 0 };
        }
        window.requests += 1;
        Admission {
            is_admitted: window.requests <= max_requests,
            limit: max_requests,
            remaining: max_requests.saturating_sub(window.requests),
            window_s: window_ms.div_ceil(1000),
            reset_s: window_ms.saturating_sub(now.ms_since(window.opened_at)).div_ceil(1000),
        }
    }
}

/// The key itself when there is room for it, else that of the shared window.
fn place_for<'a>(windows: &mut HashMap<Arc<str>, Window>, key: &'a str, is_over: impl Fn(&Window) -> bool) -> &'a str {
    if windows.len() >= RATE_KEYS_MAX {
        windows.retain(|_, window| !is_over(window));
    }
    if windows.len() >= RATE_KEYS_MAX { "*" } else { key }
}

impl Admission {
    /// `ratelimit-*`, and `retry-after` for a refused request.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut put = |name: &'static str, value: HeaderValue| headers.insert(HeaderName::from_static(name), value);
        put("ratelimit-limit", self.limit.into());
        let policy = HeaderValue::from_str(&format!("{};w={}", self.limit, self.window_s));
        put("ratelimit-policy", policy.expect("digits, a semicolon and a letter"));
        put("ratelimit-remaining", self.remaining.into());
        put("ratelimit-reset", self.reset_s.into());
        if !self.is_admitted {
            put("retry-after", self.reset_s.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn a_window_opens_with_the_first_request_and_refuses_beyond_its_limit() {
        let limiter = RateLimiter::default();
        let ask = |key: &str, ms| {
            let admission = limiter.admit(key, at(ms), 60_000, 2);
            (admission.is_admitted, admission.remaining, admission.reset_s)
        };
        assert_eq!(ask("a", 0), (true, 1, 60));
        assert_eq!(ask("a", 1), (true, 0, 60));
        assert_eq!(ask("a", 59_001), (false, 0, 1));
        assert_eq!(ask("b", 59_001), (true, 1, 60));
        assert_eq!(ask("a", 60_000), (true, 1, 60));
    }

    #[test]
    fn a_clock_set_back_opens_a_new_window() {
        let limiter = RateLimiter::default();
        assert!(limiter.admit("a", at(100_000), 60_000, 1).is_admitted);
        assert!(limiter.admit("a", at(0), 60_000, 1).is_admitted);
    }

    #[test]
    fn the_number_of_windows_is_bounded() {
        let limiter = RateLimiter::default();
        for key in 0..RATE_KEYS_MAX {
            assert!(limiter.admit(&key.to_string(), at(0), 1000, 1).is_admitted);
        }
        assert!(limiter.admit("x", at(1), 1000, 1).is_admitted);
        assert!(!limiter.admit("y", at(1), 1000, 1).is_admitted, "shares the window of x");
        assert!(limiter.admit("y", at(1000), 1000, 1).is_admitted);
        assert!(limiter.windows.lock().unwrap().len() <= 2);
    }
}
