//! A fault by its path alone; which layer it lies in is found out afterwards.

use crate::path::Path;
use crate::problem::{Origin, Problem};
use crate::text::Spots;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    UnknownKey,
    /// Wrong type, unknown word, out of range, or missing.
    Value,
    /// An environment variable or a file that a value names is not there.
    Reference,
    /// A rule of the section's owner.
    Rule,
}

#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub kind: FaultKind,
    pub path: Path,
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(kind: FaultKind, path: &Path, message: impl Into<String>) -> Fault {
        Fault { kind, path: path.clone(), message: message.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> Fault {
        self.hint = hint;
        self
    }
}

/// Who wrote what: the file with its lines, and above it single values from elsewhere.
#[derive(Debug)]
pub(crate) struct Origins {
    pub text: Origin,
    pub spots: Spots,
    /// Later ones win over earlier ones and all win over the text.
    pub single: Vec<(Path, Origin)>,
}

impl Origins {
    pub fn problem(&self, fault: Fault) -> Problem {
        let (origin, spot) = self.locate(&fault.path);
        let mut problem = Problem::new(origin.clone(), fault.path.to_string(), fault.message);
        problem.hint = fault.hint;
        match spot {
            Some(spot) => problem.at(spot.line, spot.column),
            None => problem,
        }
    }

    fn locate(&self, path: &Path) -> (&Origin, Option<crate::text::Spot>) {
        if let Some((_, origin)) = self.single.iter().rev().find(|(set, _)| path.starts_with(set)) {
            return (origin, None);
        }
        // A table that only a variable made lacks what the table needs.
        let made_below = self.single.iter().rev().find(|(set, _)| set.starts_with(path));
        let parent_made = path.parent().and_then(|parent| {
            let by_single = self.single.iter().rev().find(|(set, _)| !parent.is_root() && set.starts_with(&parent));
            by_single.filter(|_| !self.spots.has(&parent))
        });
        if let Some((_, origin)) = made_below.filter(|_| !self.spots.has(path)).or(parent_made) {
            return (origin, None);
        }
        match self.spots.nearest(path) {
            Some(spot) => (&self.text, Some(spot)),
            None => (&self.text, None),
        }
    }
}
