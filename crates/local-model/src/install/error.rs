//! Why a model could not be installed.

use std::io;
use std::path::PathBuf;

use crate::error::EngineError;

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("no model is called `{name}`; there are {known}")]
    Unknown { name: String, known: String },
    #[error("`{name}` could not be had: {reasons}")]
    NoSource { name: String, reasons: String },
    #[error("`{name}` is being installed by another process")]
    Busy { name: String },
    #[error("`{name}` is not installed")]
    NotInstalled { name: String },
    #[error("`{path}` cannot be imported: {reason}", path = path.display())]
    Import { path: PathBuf, reason: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("`{path}`: {source}", path = path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
}
