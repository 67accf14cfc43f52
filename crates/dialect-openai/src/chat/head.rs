//! What a completion is called.

use services::Services;

/// What all chunks of a completion share.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// `chatcmpl-…`
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// As the client calls it.
    pub model: String,
}

impl Head {
    pub fn new(services: &Services, model: &str) -> Self {
        let id = format!("chatcmpl-{}", services.ids.uuid());
        Self { id, created: services.clock.now().as_ms() / 1000, model: model.to_owned() }
    }
}
