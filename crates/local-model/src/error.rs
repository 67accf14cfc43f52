//! What can go wrong with weights on disk and inside the engine.

use std::path::PathBuf;

/// Why a model cannot be loaded or does not answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("cannot read `{path}`: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{path}` is not a model file this engine can run: {reason}", path = path.display())]
    Unusable { path: PathBuf, reason: String },
    #[error("the model file has no `{0}`")]
    MissingFact(&'static str),
    #[error("models of the kind `{0}` are not supported, only `llama` with a byte-level vocabulary")]
    Architecture(String),
    #[error("the vocabulary is unusable: {0}")]
    Vocabulary(String),
    #[error("the model's chat template fails: {0}")]
    Template(String),
    #[error("the engine failed: {0}")]
    Compute(#[from] candle_core::Error),
    /// The conversation cannot be cut so that it fits.
    #[error("the newest message alone has {tokens} tokens, and the embedded model reads at most {max}")]
    TooLong { tokens: usize, max: usize },
    /// The request itself is at fault.
    #[error("{0}")]
    Request(String),
}
