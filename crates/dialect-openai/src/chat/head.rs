//! What an answer is called.

use services::Services;

/// What all chunks of an answer share.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// `chatcmpl-…` or `resp_…`
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// As the client calls it.
    pub model: String,
}

impl Head {
    pub fn new(services: &Services, prefix: &str, model: &str) -> Self {
        let id = format!("{prefix}{}", services.ids.uuid());
        Self { id, created: services.clock.now().as_ms() / 1000, model: model.to_owned() }
    }
}
