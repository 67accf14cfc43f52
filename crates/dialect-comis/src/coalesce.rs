//! Growing replies, told at most ten times a second.
//!
//! One piece of state for all listeners: an event is encoded once, by whichever listener comes to
//! it first, and what is shown then is shown to all. A listener that lags or joins late is set
//! right by the accumulated text that every frame carries.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use model::{RunId, TextSoFar, Timestamp};

/// Shortest time between two frames of one reply.
const INTERVAL_MS: u64 = 100;

/// Replies in progress at a time. Beyond it all of them start over, with a frame that holds the
/// whole text so far.
const RUNS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Coalescer {
    runs: Mutex<HashMap<RunId, Shown>>,
}

#[derive(Debug)]
struct Shown {
    at: Timestamp,
    /// Bytes of the text that were shown.
    bytes: usize,
    latest: TextSoFar,
}

/// What a frame shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Added since the frame before.
    pub delta: String,
    pub accumulated: String,
}

impl Coalescer {
    /// A delta arrived; `None` when it is too early to show it.
    pub(crate) fn grown(&self, run: &RunId, at: Timestamp, so_far: &TextSoFar) -> Option<Growth> {
        let mut runs = self.lock();
        if runs.len() >= RUNS_MAX && !runs.contains_key(run) {
            runs.clear();
        }
        let Some(shown) = runs.get_mut(run) else {
            runs.insert(run.clone(), Shown { at, bytes: so_far.len(), latest: so_far.clone() });
            return Some(growth(so_far, 0));
        };
        if so_far.len() > shown.latest.len() {
            shown.latest = so_far.clone();
        }
        let is_early = at.ms_since(shown.at) < INTERVAL_MS && at >= shown.at;
        if is_early || so_far.len() <= shown.bytes {
            return None;
        }
        let grown = growth(so_far, shown.bytes);
        (shown.at, shown.bytes) = (at, so_far.len());
        Some(grown)
    }

    /// The reply pauses: shows what was held back.
    pub(crate) fn paused(&self, run: &RunId, at: Timestamp) -> Option<Growth> {
        let mut runs = self.lock();
        let shown = runs.get_mut(run).filter(|shown| shown.latest.len() > shown.bytes)?;
        let grown = growth(&shown.latest, shown.bytes);
        (shown.at, shown.bytes) = (at, shown.latest.len());
        Some(grown)
    }

    /// The run is over: shows the rest and forgets it. `response` stands in for a reply that nobody
    /// saw grow; `None` when there was no text at all.
    pub(crate) fn ended(&self, run: &RunId, response: &str) -> Option<Growth> {
        match self.lock().remove(run) {
            Some(shown) => Some(growth(&shown.latest, shown.bytes)),
            None if response.is_empty() => None,
            None => Some(Growth { delta: response.to_owned(), accumulated: response.to_owned() }),
        }
    }

    /// Nobody listens any more.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Shown>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn growth(text: &TextSoFar, from: usize) -> Growth {
    text.with(|text| Growth { delta: text.get(from..).unwrap_or_default().to_owned(), accumulated: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn shown(growth: Option<Growth>) -> Option<(String, String)> {
        growth.map(|growth| (growth.delta, growth.accumulated))
    }

    fn pair(delta: &str, accumulated: &str) -> Option<(String, String)> {
        Some((delta.to_owned(), accumulated.to_owned()))
    }

    #[test]
    fn text_is_held_back_for_a_tenth_of_a_second_and_never_lost() {
        let (coalescer, run) = (Coalescer::default(), RunId::trusted("r"));
        let mut text = TextSoFar::new();
        let mut say = |word: &str, ms| {
            text = text.push(word);
            shown(coalescer.grown(&run, at(ms), &text))
        };
        assert_eq!(say("a", 0), pair("a", "a"));
        assert_eq!(say("b", 50), None);
        assert_eq!(say("c", 100), pair("bc", "abc"));
        assert_eq!(say("d", 120), None);
        assert_eq!(shown(coalescer.paused(&run, at(130))), pair("d", "abcd"));
        assert_eq!(shown(coalescer.paused(&run, at(131))), None);
        assert_eq!(shown(coalescer.ended(&run, "abcd")), pair("", "abcd"));
        assert_eq!(shown(coalescer.ended(&run, "abcd")), pair("abcd", "abcd"), "told anew to those who resume");
        assert_eq!(shown(coalescer.ended(&run, "")), None);
    }

    #[test]
    fn a_listener_that_lags_shows_nothing_twice() {
        let (coalescer, run) = (Coalescer::default(), RunId::trusted("r"));
        let early = TextSoFar::new().push("a");
        let late = early.push("b");
        assert_eq!(shown(coalescer.grown(&run, at(500), &late)), pair("ab", "ab"));
        assert_eq!(shown(coalescer.grown(&run, at(0), &early)), None);
    }
}
