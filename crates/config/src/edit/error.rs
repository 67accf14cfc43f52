//! Why a change is refused, or could not be written.

use std::path::PathBuf;

use crate::path::{InvalidPath, Path};
use crate::problem::Problems;

#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// The text, before or after the change, is not a valid configuration. Nothing was written.
    #[error("{0}")]
    Invalid(Problems),
    #[error("`{key}` {reason}")]
    Value { key: String, reason: String },
    /// Someone else wrote the file in the meantime. Nothing was written.
    #[error("`{}` changed since it was read; read it again and repeat the change", path.display())]
    Changed { path: PathBuf },
    /// The new configuration was valid, but a part of the gateway refused it; the file is as before.
    #[error("the change was taken back: {0}")]
    NotApplied(Problems),
    #[error("there is no version {0} in the history")]
    NoVersion(u64),
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

pub(super) fn value_error(path: &Path, reason: impl Into<String>) -> EditError {
    EditError::Value { key: path.to_string(), reason: reason.into() }
}
