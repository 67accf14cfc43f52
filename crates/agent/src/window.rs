//! How much of a model's window a conversation takes.

use model::{NewMessage, Usage};
use providers::{ModelInfo, Sampling};

/// Tokens kept free for the answer when neither the run nor the model says how long it may be.
const ANSWER_TOKENS: u64 = 4096;

/// The part of the usable window, in percent, from which on a conversation is compacted.
const NEAR_END_PERCENT: u64 = 80;

/// What a conversation may take of a model's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    usable: u64,
}

impl Room {
    /// The window less the space for the answer, which is never more than a quarter of it. `None`
    /// when the window is not known: then only the vendor can tell.
    pub(crate) fn of(model: &ModelInfo, sampling: &Sampling) -> Option<Self> {
        let window = u64::from(model.context_window.filter(|window| *window > 0)?);
        let answer = sampling.max_output_tokens.or(model.max_output_tokens).map_or(ANSWER_TOKENS, u64::from);
        Some(Self { usable: window - answer.min(window / 4) })
    }

    pub(crate) fn usable(self) -> u64 {
        self.usable
    }

    pub(crate) fn is_near_end(self, tokens: u64) -> bool {
        tokens * 100 > self.usable * NEAR_END_PERCENT
    }
}

/// Counts the tokens of the next request.
#[derive(Debug)]
pub(crate) struct Gauge {
    /// System text and tools, estimated.
    fixed: u64,
    /// The vendor's own count: so many messages from the start, with everything fixed, took so many tokens.
    known: Option<(usize, u64)>,
    /// Tokens after the last compaction, whether it gained something or not.
    compacted_at: Option<u64>,
}

impl Gauge {
    pub(crate) fn new(system: &str, tool_chars: usize) -> Self {
        let chars = system.chars().count() + tool_chars;
        Self { fixed: (chars as u64).div_ceil(4), known: None, compacted_at: None }
    }

    pub(crate) fn tokens(&self, history: &[NewMessage]) -> u64 {
        let (counted, tokens) = self.known.unwrap_or((0, self.fixed));
        let rest = history.get(counted..).unwrap_or_default();
        tokens + rest.iter().map(NewMessage::token_estimate).sum::<u64>()
    }

    /// An answer to `history` came, with the vendor's count.
    pub(crate) fn learn(&mut self, history: &[NewMessage], usage: Option<Usage>) {
        if let Some(usage) = usage.filter(|usage| usage.input > 0) {
            self.known = Some((history.len(), usage.input));
        }
    }

    /// The conversation was replaced by a shorter one.
    pub(crate) fn forget(&mut self) {
        self.known = None;
    }

    pub(crate) fn set_compacted(&mut self, history: &[NewMessage]) {
        self.compacted_at = Some(self.tokens(history));
    }

    /// Whether enough was added since the last compaction: each one costs calls of a model.
    pub(crate) fn is_worth_compacting(&self, tokens: u64, room: Room) -> bool {
        self.compacted_at.is_none_or(|before| tokens > before + room.usable / 10)
    }
}

#[cfg(test)]
mod tests {
    use providers::{Capabilities, ModelSource};

    use super::*;

    fn model(context_window: Option<u32>, max_output_tokens: Option<u32>) -> ModelInfo {
        ModelInfo {
            id: String::from("m"),
            name: String::from("m"),
            capabilities: Capabilities::CHAT,
            context_window,
            max_output_tokens,
            source: ModelSource::Config,
            notice: None,
        }
    }

    #[test]
    fn the_answer_keeps_its_room_but_at_most_a_quarter() {
        let usable = |window, output, wanted| {
            let sampling = Sampling { max_output_tokens: wanted, ..Sampling::default() };
            Room::of(&model(window, output), &sampling).map(Room::usable)
        };
        let found = [
            usable(Some(100_000), Some(8_000), None),
            usable(Some(100_000), Some(8_000), Some(500)),
            usable(Some(100_000), None, None),
            usable(Some(2_000), Some(8_000), None),
            usable(Some(0), None, None),
            usable(None, None, None),
        ];
        assert_eq!(found, [Some(92_000), Some(99_500), Some(95_904), Some(1_500), None, None]);
    }

    #[test]
    fn the_vendors_count_replaces_the_estimate_of_what_it_covers() {
        let mut gauge = Gauge::new(&"x".repeat(400), 0);
        let mut history = vec![NewMessage::user("y".repeat(40))];
        assert_eq!(gauge.tokens(&history), 110);
        gauge.learn(&history, Some(Usage { input: 300, output: 7, ..Usage::default() }));
        history.push(NewMessage::user("z".repeat(20)));
        assert_eq!(gauge.tokens(&history), 305);
        gauge.forget();
        assert_eq!(gauge.tokens(&history), 115);
    }
}
