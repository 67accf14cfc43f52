//! What a check found.

use std::fmt::Display;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// Works, but is probably not meant.
    Warning,
    /// Does not work.
    Broken,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, one word.
    pub check: &'static str,
    pub state: State,
    /// Never holds a secret.
    pub message: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, message: impl Display) -> Self {
        Self { check, state: State::Ok, message: message.to_string(), mend: None }
    }

    pub fn warning(check: &'static str, message: impl Display) -> Self {
        Self { state: State::Warning, ..Self::ok(check, message) }
    }

    pub fn broken(check: &'static str, message: impl Display) -> Self {
        Self { state: State::Broken, ..Self::ok(check, message) }
    }

    #[must_use]
    pub fn mend(mut self, advice: impl Display) -> Self {
        self.mend = Some(advice.to_string());
        self
    }
}
