//! Keeping secrets out of messages that others word.

use std::cell::OnceCell;

use model::REDACTED;
use serde_json::Value;

use crate::path::Path;
use crate::shape::Shape;

/// Shorter texts are not searched for: hiding every `a` would hide the message.
const CHARS_MIN: usize = 4;

/// The texts that no message may repeat; gathered when the first message comes.
pub(crate) struct Hidden<'a> {
    tree: &'a Value,
    shape: &'a Shape,
    /// What references led to, wherever it stands.
    taken: Vec<String>,
    texts: OnceCell<Vec<String>>,
}

impl<'a> Hidden<'a> {
    pub fn of(tree: &'a Value, shape: &'a Shape, taken: Vec<String>) -> Hidden<'a> {
        Hidden { tree, shape, taken, texts: OnceCell::new() }
    }

    /// The message without any of them.
    pub fn out_of(&self, message: &str) -> String {
        let texts = self.texts.get_or_init(|| self.gather());
        texts.iter().fold(message.to_owned(), |message, secret| message.replace(secret, REDACTED))
    }

    /// Longest first, so that no part of one is left when a shorter one is found in it.
    fn gather(&self) -> Vec<String> {
        let mut texts = self.taken.clone();
        collect(self.tree, &Path::root(), self.shape, &mut texts);
        texts.retain(|text| text.chars().count() >= CHARS_MIN);
        texts.sort_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
        texts.dedup();
        texts
    }
}

fn collect(value: &Value, path: &Path, shape: &Shape, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, child)| collect(child, &path.key(key.as_str()), shape, into)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| collect(item, &path.index(at), shape, into));
        }
        Value::String(text) if shape.is_secret(path, value) => into.push(text.clone()),
        _ => {}
    }
}
