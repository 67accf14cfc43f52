//! Responses that can be read again and gone on with, each by the token that asked for it.
//!
//! They live in memory and go with the process: whoever needs a conversation for longer sends it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use model::{Content, NewMessage, Part, Timestamp};

/// How many are kept; the oldest go first.
const RESPONSES_MAX: usize = 1000;
/// How much they and their conversations may have together, in bytes; what several share counts for each.
const BYTES_MAX: usize = 64 * 1024 * 1024;
const KEPT_MS: i64 = 3_600_000;

/// A response with what a request needs that goes on from it.
pub(super) struct KeptResponse {
    /// The whole object.
    pub json: Bytes,
    /// All that was said, its own answer last, without `instructions`.
    pub conversation: Vec<Arc<NewMessage>>,
    /// Its output by the items' ids.
    pub items: Vec<(String, Option<NewMessage>)>,
    pub at: Timestamp,
}

impl KeptResponse {
    fn bytes(&self) -> usize {
        self.json.len() + self.conversation.iter().map(|message| bytes(message)).sum::<usize>()
    }

    fn is_old(&self, now: Timestamp) -> bool {
        self.at.plus_ms(KEPT_MS) < now
    }
}

#[derive(Default)]
pub(crate) struct Kept {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By id, with the owner.
    responses: HashMap<String, (Arc<str>, Arc<KeptResponse>)>,
    /// In the order of their coming; those that were deleted meanwhile too.
    order: VecDeque<String>,
    bytes: usize,
}

impl Kept {
    pub(super) fn keep(&self, owner: Arc<str>, id: String, response: KeptResponse) {
        let mut state = self.lock();
        state.bytes += response.bytes();
        state.order.push_back(id.clone());
        state.responses.insert(id, (owner, Arc::new(response)));
        while state.order.len() > RESPONSES_MAX || state.bytes > BYTES_MAX {
            state.drop_oldest();
        }
    }

    pub(super) fn get(&self, owner: &str, id: &str, now: Timestamp) -> Option<Arc<KeptResponse>> {
        let mut state = self.lock();
        state.drop_old(now);
        let (of, kept) = state.responses.get(id)?;
        (**of == *owner).then(|| Arc::clone(kept))
    }

    /// `false` when there is none of this owner.
    pub(super) fn remove(&self, owner: &str, id: &str, now: Timestamp) -> bool {
        let mut state = self.lock();
        state.drop_old(now);
        let is_theirs = state.responses.get(id).is_some_and(|(of, _)| **of == *owner);
        if is_theirs {
            state.forget(id);
            state.order.retain(|known| known != id);
        }
        is_theirs
    }

    /// What one owner can refer to.
    pub(super) fn of<'a>(&'a self, owner: &'a str, now: Timestamp) -> OfOwner<'a> {
        OfOwner { kept: self, owner, now }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The responses of one owner.
pub(super) struct OfOwner<'a> {
    kept: &'a Kept,
    owner: &'a str,
    now: Timestamp,
}

impl OfOwner<'_> {
    pub fn get(&self, id: &str) -> Option<Arc<KeptResponse>> {
        self.kept.get(self.owner, id, self.now)
    }

    /// What an item of an earlier output says; the inner `None` for one that says nothing.
    pub fn item(&self, id: &str) -> Option<Option<NewMessage>> {
        let mut state = self.kept.lock();
        state.drop_old(self.now);
        let own = state.responses.values().filter(|(of, _)| **of == *self.owner);
        own.flat_map(|(_, kept)| &kept.items).find(|(known, _)| known == id).map(|(_, message)| message.clone())
    }
}

impl State {
    fn drop_oldest(&mut self) {
        if let Some(id) = self.order.pop_front() {
            self.forget(&id);
        }
    }

    fn drop_old(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|id| self.responses.get(id).is_none_or(|(_, kept)| kept.is_old(now))) {
            self.drop_oldest();
        }
    }

    fn forget(&mut self, id: &str) {
        if let Some((_, kept)) = self.responses.remove(id) {
            self.bytes -= kept.bytes();
        }
    }
}

fn bytes(message: &NewMessage) -> usize {
    let calls: usize =
        message.tool_calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum();
    let content = match &message.content {
        Content::Text(text) => text.len(),
        Content::Parts(parts) => parts.iter().map(part_bytes).sum(),
    };
    calls + content
}

fn part_bytes(part: &Part) -> usize {
    match part {
        Part::Text { text } => text.len(),
        Part::Image { data, url, .. } => data.as_ref().or(url.as_ref()).map_or(0, String::len),
        Part::Audio { data, .. } | Part::File { data, .. } => data.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(text: &str, at: i64) -> KeptResponse {
        let message = NewMessage::assistant(text);
        KeptResponse {
            json: Bytes::from_static(b"{}"),
            conversation: vec![Arc::new(message.clone())],
            items: vec![(format!("msg_{at}"), Some(message))],
            at: Timestamp::from_ms(at),
        }
    }

    fn holds(kept: &Kept, owner: &str, id: &str, now: i64) -> bool {
        kept.get(owner, id, Timestamp::from_ms(now)).is_some()
    }

    #[test]
    fn a_response_is_its_owners_for_an_hour() {
        let kept = Kept::default();
        kept.keep("ann".into(), "resp_1".into(), response("hi", 0));
        assert!(holds(&kept, "ann", "resp_1", KEPT_MS) && !holds(&kept, "bob", "resp_1", 0));
        assert!(!kept.remove("bob", "resp_1", Timestamp::from_ms(0)));
        assert_eq!(kept.of("bob", Timestamp::from_ms(0)).item("msg_0"), None);
        assert!(kept.of("ann", Timestamp::from_ms(0)).item("msg_0").is_some());
        assert!(!holds(&kept, "ann", "resp_1", KEPT_MS + 1));
        assert_eq!(kept.lock().bytes, 0);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_they_are_too_large() {
        let kept = Kept::default();
        for number in 0..=RESPONSES_MAX {
            kept.keep("ann".into(), format!("resp_{number}"), response("hi", 0));
        }
        assert!(!holds(&kept, "ann", "resp_0", 0) && holds(&kept, "ann", "resp_1", 0));
        kept.keep("ann".into(), "large".into(), response(&"x".repeat(BYTES_MAX - 2), 0));
        assert!(!holds(&kept, "ann", "resp_1000", 0) && holds(&kept, "ann", "large", 0));
        kept.keep("ann".into(), "too large".into(), response(&"x".repeat(BYTES_MAX), 0));
        assert!(!holds(&kept, "ann", "large", 0) && !holds(&kept, "ann", "too large", 0));
        assert_eq!(kept.lock().bytes, 0);
    }

    #[test]
    fn what_is_deleted_is_gone_at_once() {
        let kept = Kept::default();
        kept.keep("ann".into(), "resp_1".into(), response("hi", 0));
        assert!(
            kept.remove("ann", "resp_1", Timestamp::from_ms(0)) && !kept.remove("ann", "resp_1", Timestamp::from_ms(0))
        );
        let state = kept.lock();
        assert_eq!((state.bytes, state.order.len(), state.responses.len()), (0, 0, 0));
    }
}
