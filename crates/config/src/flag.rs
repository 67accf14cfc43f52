//! A setting from the command line.

use serde_json::Value;

use crate::path::Path;

#[derive(Clone)]
pub(crate) struct Flag {
    pub name: String,
    pub path: Path,
    pub value: FlagValue,
}

#[derive(Clone)]
pub(crate) enum FlagValue {
    Text(String),
    Tree(Value),
}

impl std::fmt::Debug for Flag {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.path)
    }
}
