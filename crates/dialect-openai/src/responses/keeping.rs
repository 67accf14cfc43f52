//! Keeping an answer for those who read it or go on from it.

use std::sync::Arc;

use model::NewMessage;

use super::kept;
use super::object::ResponseObject;
use crate::OpenAi;

/// What is kept of an answer beside itself.
pub(super) struct Keeping {
    pub openai: Arc<OpenAi>,
    pub owner: Arc<str>,
    /// What was said before the answer, without `instructions`.
    pub conversation: Vec<Arc<NewMessage>>,
}

impl Keeping {
    /// Does nothing when the client wishes so.
    pub async fn keep(self, object: &ResponseObject) {
        if !object.store {
            return;
        }
        let Ok(json) = serde_json::to_string(object) else { return };
        let mut conversation = self.conversation;
        conversation.extend(object.message().map(Arc::new));
        let services = self.openai.services();
        let (said, at) = ((json, conversation), services.clock.now());
        let kept = kept::keep(&services.kept, &self.owner, &object.id, said, object.items(), at);
        if let Err(error) = kept.await {
            tracing::warn!(%error, response = object.id, "a response is answered and cannot be kept");
        }
    }
}
