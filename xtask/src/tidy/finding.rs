//! One breach of one rule, worded so that the reader knows what to do.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// The rule's name, as `tidy: allow(NAME)` spells it.
    pub rule: &'static str,
    /// `file:line`, or a crate.
    pub place: String,
    pub what: String,
    pub why: String,
}

impl Finding {
    pub fn error(
        rule: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Error, rule, place: place.into(), what: what.into(), why: why.into() }
    }

    pub fn warning(
        rule: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(rule, place, what, why) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{word}[{}] {}: {}; {}", self.rule, self.place, self.what, self.why)
    }
}
