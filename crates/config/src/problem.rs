//! What is wrong with a configuration, said so that it can be mended without looking further.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Which layer a problem lies in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The configuration file.
    File(PathBuf),
    /// An environment variable, by its name.
    Environment(String),
    /// A command-line flag, as it is written there.
    Flag(String),
    /// A text or object that was handed over to be checked; it has no name.
    Given,
    /// Nothing was written anywhere; the default is at fault or a required key has none.
    Defaults,
}

/// One thing that is wrong, or, in a list of warnings, one thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub origin: Origin,
    /// From 1; absent when the place is not in a text.
    pub line: Option<u32>,
    /// In characters, from 1.
    pub column: Option<u32>,
    /// Dotted path; empty when the text could not be read that far.
    pub key: String,
    /// Never holds the value of a secret.
    pub message: String,
    /// What to do about it, as a clause: "did you mean `model`?".
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(origin: Origin, key: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { origin, line: None, column: None, key: key.into(), message: message.into(), hint: None }
    }

    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Problem {
        (self.line, self.column) = (Some(line), Some(column));
        self
    }

    /// The file, when the problem lies in one.
    pub fn file(&self) -> Option<&std::path::Path> {
        match &self.origin {
            Origin::File(path) => Some(path),
            _ => None,
        }
    }

    /// Message and hint in one sentence, without the place.
    pub fn text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// As `config.validate` answers it. A place that has no key is told by line and column.
    pub fn finding(&self) -> Finding {
        let message = match (self.line, self.column) {
            (Some(line), Some(column)) if self.key.is_empty() => format!("line {line}:{column}: {}", self.text()),
            _ => self.text(),
        };
        Finding { path: self.key.clone(), message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(path) => write!(f, "{}:", path.display())?,
            Origin::Environment(name) => write!(f, "environment variable {name}:")?,
            Origin::Flag(name) => write!(f, "{name}:")?,
            Origin::Given | Origin::Defaults => {}
        }
        match (self.line, self.column) {
            (Some(line), Some(column)) if self.key.is_empty() => write!(f, "{line}:{column}:")?,
            (Some(line), _) => write!(f, "{line}:")?,
            _ => {}
        }
        if !matches!(self.origin, Origin::Given | Origin::Defaults) || self.line.is_some() {
            f.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text())
    }
}

/// A problem as a caller sees it who handed over the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub path: String,
    pub message: String,
}

/// All problems of one attempt, in the order of the text; one line each when displayed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Sorts by place and drops repetitions.
    pub(crate) fn sorted(mut problems: Vec<Problem>) -> Problems {
        problems.sort();
        problems.dedup();
        Problems(problems)
    }

    pub fn findings(&self) -> Vec<Finding> {
        self.0.iter().map(Problem::finding).collect()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

impl std::ops::Deref for Problems {
    type Target = [Problem];

    fn deref(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
