//! Keeping an answer for those who read it or go on from it.

use std::sync::Arc;

use model::NewMessage;

use super::kept::KeptResponse;
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
    pub fn keep(self, object: &ResponseObject) {
        if !object.store {
            return;
        }
        let Ok(json) = serde_json::to_vec(object) else { return };
        let mut conversation = self.conversation;
        conversation.extend(object.message().map(Arc::new));
        let at = self.openai.services().clock.now();
        let kept = KeptResponse { json: json.into(), conversation, items: object.items(), at };
        self.openai.kept().keep(self.owner, object.id.clone(), kept);
    }
}
