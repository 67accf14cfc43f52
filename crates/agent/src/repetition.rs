//! Noticing a model that goes round in a circle.

use model::{ErrorKind, RunError};
use serde_json::Value;

use crate::toolbox::Ended;

/// So many times in a row may a step consist of the same call with the same result; the last of
/// them ends the turn.
pub(crate) const SAME_CALLS_MAX: u32 = 4;

#[derive(Debug, Default)]
pub(crate) struct Repetition {
    last: Option<Seen>,
    count: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    arguments: String,
    result: String,
}

impl Repetition {
    /// Takes in a step. Several calls at once, or a result that differs, count as progress.
    pub(crate) fn fault(&mut self, step: &[Ended]) -> Option<RunError> {
        let [only] = step else {
            *self = Self::default();
            return None;
        };
        let seen = Seen {
            name: only.call.name.clone(),
            arguments: normal(&only.call.arguments),
            result: only.outcome.text.clone(),
        };
        if self.last.as_ref() == Some(&seen) {
            self.count += 1;
        } else {
            self.count = 1;
            self.last = Some(seen);
        }
        (self.count >= SAME_CALLS_MAX).then(|| RunError {
            kind: ErrorKind::ToolFailed,
            message: format!(
                "the model called `{}` {SAME_CALLS_MAX} times in a row with the same arguments and got the same result",
                only.call.name
            ),
        })
    }
}

/// The same value is the same text, however it was spaced and in whatever order its fields came.
fn normal(arguments: &str) -> String {
    let value: Result<Value, _> = serde_json::from_str(arguments);
    value.map_or_else(|_| arguments.to_owned(), |value| value.to_string())
}
