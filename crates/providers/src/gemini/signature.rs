//! Signatures of thoughts, kept as opaque blocks between two requests.

use serde_json::{Value, json};

/// Where a signature came from, and must go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// The call with this id, one of ours.
    Call(&'a str),
    /// The text of the message.
    Text,
}

/// The vendor takes this in place of a signature for calls that another model made.
pub(super) const FOREIGN: &str = "skip_thought_signature_validator";

pub(super) fn block(place: &Place<'_>, signature: &str) -> Value {
    match place {
        Place::Call(id) => json!({ "type": "thought_signature", "call": id, "signature": signature }),
        Place::Text => json!({ "type": "thought_signature", "signature": signature }),
    }
}

/// The signature that belongs to `place`; blocks of other vendors are passed over.
pub(super) fn find<'a>(blocks: &'a [Value], place: &Place<'_>) -> Option<&'a str> {
    let call = match place {
        Place::Call(id) => Some(*id),
        Place::Text => None,
    };
    let text = |block: &'a Value, key: &str| block.get(key).and_then(Value::as_str);
    blocks
        .iter()
        .filter(|block| text(block, "type") == Some("thought_signature"))
        .find(|block| text(block, "call") == call)
        .and_then(|block| text(block, "signature"))
}
