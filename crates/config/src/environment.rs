//! The environment as it was handed in.

use std::collections::BTreeMap;
use std::fmt;

/// What the names of settings begin with.
pub const PREFIX: &str = "PATCHBAY_";

/// Names with the prefix that are no settings: the command line reads them itself.
pub const RESERVED: [&str; 4] = ["PATCHBAY_HOME", "PATCHBAY_TOKEN", "PATCHBAY_CONFIG", "PATCHBAY_LOG"];

/// Environment variables by name. Values are never shown, also not by `Debug`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Settings: the variable's name, its path in lower case, its text. `PATCHBAY_AGENTS__MAIN__MODEL`
    /// is `["agents", "main", "model"]`. Sorted by name, so that a table comes before its parts.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&str, Vec<String>, &str)> {
        self.0.iter().filter_map(|(name, text)| {
            let upper = name.to_ascii_uppercase();
            let path = upper.strip_prefix(PREFIX)?;
            let is_setting = !path.is_empty() && !RESERVED.contains(&upper.as_str());
            is_setting.then(|| {
                let path = path.to_ascii_lowercase().split("__").map(str::to_owned).collect();
                (name.as_str(), path, text.as_str())
            })
        })
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Environment {
        Environment(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
