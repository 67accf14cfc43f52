//! Limits of single connections.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use model::Timestamp;

/// Messages of one connection in a sliding window. Holds the times of accepted messages, at most
/// as many as the limit allows.
#[derive(Debug, Default)]
pub(crate) struct SlidingWindow {
    accepted: VecDeque<Timestamp>,
}

impl SlidingWindow {
    /// Whether one more message is accepted. A refused one does not extend the window.
    pub(crate) fn admit(&mut self, now: Timestamp, window_ms: u64, max_messages: usize) -> bool {
        while self.accepted.front().is_some_and(|at| now.ms_since(*at) >= window_ms || now < *at) {
            self.accepted.pop_front();
        }
        let is_admitted = self.accepted.len() < max_messages;
        if is_admitted {
            self.accepted.push_back(now);
        }
        is_admitted
    }
}

/// How long a finished stream is remembered.
const REMEMBERED_MS: u64 = 60_000;
/// Streams remembered at a time; the oldest is forgotten first, and then repeats its turn.
const STREAMS_MAX: usize = 256;

/// What makes two requests for a streamed turn the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamRequest {
    pub caller: String,
    pub message: String,
    pub agent: String,
}

/// Streamed turns that came to their end lately, for browsers that reconnect after a normal end and
/// would repeat the turn.
#[derive(Debug, Default)]
pub(crate) struct EndedStreams {
    streams: Mutex<VecDeque<(Timestamp, StreamRequest)>>,
}

impl EndedStreams {
    pub(crate) fn remember(&self, now: Timestamp, request: StreamRequest) {
        let mut streams = self.lock();
        if streams.len() == STREAMS_MAX {
            streams.pop_front();
        }
        streams.push_back((now, request));
    }

    pub(crate) fn contains(&self, now: Timestamp, request: &StreamRequest) -> bool {
        let mut streams = self.lock();
        streams.retain(|(ended_at, _)| now.ms_since(*ended_at) < REMEMBERED_MS);
        streams.iter().any(|(_, ended)| ended == request)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Timestamp, StreamRequest)>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn the_window_slides_and_refused_messages_do_not_extend_it() {
        let mut window = SlidingWindow::default();
        let admitted: Vec<bool> = [0, 400, 500, 999, 1000, 1001].map(|ms| window.admit(at(ms), 1000, 2)).into();
        assert_eq!(admitted, [true, true, false, false, true, false]);
        assert!(window.admit(at(1400), 1000, 2));
    }

    #[test]
    fn finished_streams_are_remembered_for_a_minute() {
        let ended = EndedStreams::default();
        let request =
            |message: &str| StreamRequest { caller: "t".into(), message: message.into(), agent: String::new() };
        ended.remember(at(0), request("hello"));
        assert!(ended.contains(at(59_999), &request("hello")));
        assert!(!ended.contains(at(1), &request("other")));
        assert!(!ended.contains(at(60_000), &request("hello")));
        for number in 0..=STREAMS_MAX {
            ended.remember(at(0), request(&number.to_string()));
        }
        assert!(!ended.contains(at(0), &request("0")));
        assert!(ended.contains(at(0), &request("1")));
    }
}
