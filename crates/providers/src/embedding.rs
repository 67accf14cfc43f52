//! What all embedders share.

use crate::error::{ProviderError, ProviderErrorKind};
use crate::http::Upstream;

/// A vector for each input, or the answer is of no use: nobody could tell whose vector is missing.
pub(crate) fn check_count(upstream: &Upstream, vectors: usize, inputs: usize) -> Result<(), ProviderError> {
    if vectors == inputs {
        return Ok(());
    }
    let message = format!("gave {vectors} embeddings for {inputs} inputs");
    Err(upstream.error(ProviderErrorKind::Malformed, message))
}
