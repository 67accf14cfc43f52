//! Tool calls while they stream in: numbering, ids where a vendor has none, arguments that are never empty.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::chat::{ChatRequest, Chunk};
use crate::fault::Fault;

/// Makes ids for calls of vendors that give none.
///
/// The ids follow from the conversation so far, so that the same request gives the same ids and a
/// later step of the same conversation gives others.
#[derive(Debug, Clone)]
pub(crate) struct CallIds(u64);

impl CallIds {
    pub fn of(request: &ChatRequest) -> Self {
        let mut hasher = DefaultHasher::new();
        request.messages.len().hash(&mut hasher);
        for message in &request.messages {
            message.tool_call_id.hash(&mut hasher);
        }
        if let Some(last) = request.messages.last() {
            last.content.text().hash(&mut hasher);
        }
        Self(hasher.finish())
    }

    fn id(&self, index: usize) -> String {
        format!("call_{:016x}_{index}", self.0)
    }
}

/// The calls of one answer.
#[derive(Debug)]
pub(crate) struct Calls {
    ids: CallIds,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    /// What the vendor numbers it by.
    key: Option<u64>,
    /// The vendor's id, as far as it gave one.
    id: String,
    name: String,
    is_announced: bool,
    has_arguments: bool,
    /// Arguments that came before the name.
    held: String,
}

impl Calls {
    pub fn new(ids: CallIds) -> Self {
        Self { ids, slots: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A piece of a call: any of the four may be missing in any piece.
    ///
    /// Pieces belong together by `key`, else by `id`, else to the last call. A new id or a new name
    /// under an old key is a new call: some servers number all calls 0.
    pub fn piece(
        &mut self,
        key: Option<u64>,
        id: Option<&str>,
        name: Option<&str>,
        arguments: Option<&str>,
        out: &mut Vec<Chunk>,
    ) {
        let (id, name) = (id.unwrap_or_default(), name.unwrap_or_default());
        let index = self.find(key, id, name).unwrap_or_else(|| self.open(key));
        let slot = &mut self.slots[index];
        if slot.id.is_empty() {
            slot.id = id.to_owned();
        }
        if slot.name.is_empty() {
            slot.name = name.to_owned();
        }
        if !slot.is_announced && !slot.name.is_empty() {
            slot.is_announced = true;
            let id = if slot.id.is_empty() { self.ids.id(index) } else { slot.id.clone() };
            out.push(Chunk::ToolCall { index, id, name: slot.name.clone() });
        }
        slot.held.push_str(arguments.unwrap_or_default());
        if slot.is_announced && !slot.held.is_empty() {
            slot.has_arguments = true;
            out.push(Chunk::ToolArguments { index, text: std::mem::take(&mut slot.held) });
        }
    }

    /// A call that came in one piece and is like no other.
    pub fn whole(&mut self, id: Option<&str>, name: &str, arguments: &str, out: &mut Vec<Chunk>) -> String {
        let index = self.open(None);
        let id = id.filter(|id| !id.is_empty()).map_or_else(|| self.ids.id(index), str::to_owned);
        let slot = &mut self.slots[index];
        slot.id.clone_from(&id);
        slot.name = name.to_owned();
        slot.is_announced = true;
        slot.has_arguments = true;
        out.push(Chunk::ToolCall { index, id: id.clone(), name: name.to_owned() });
        out.push(Chunk::ToolArguments { index, text: arguments.to_owned() });
        id
    }

    /// Whether the call with this key has arguments so far.
    pub fn has_arguments(&self, key: u64) -> bool {
        self.slots.iter().rev().find(|slot| slot.key == Some(key)).is_some_and(|slot| slot.has_arguments)
    }

    /// The answer is whole: a call without arguments gets an empty object. Fails when a call never
    /// got a name.
    pub fn close(&mut self, out: &mut Vec<Chunk>) -> Result<(), Fault> {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if !slot.is_announced {
                return Err(Fault::malformed("called a tool without naming it"));
            }
            if !slot.has_arguments {
                slot.has_arguments = true;
                out.push(Chunk::ToolArguments { index, text: "{}".to_owned() });
            }
        }
        Ok(())
    }

    fn find(&self, key: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let index = match key {
            Some(_) => self.slots.iter().rposition(|slot| slot.key == key),
            None if !id.is_empty() => return self.slots.iter().rposition(|slot| slot.id == id),
            None => self.slots.len().checked_sub(1),
        }?;
        let slot = &self.slots[index];
        let is_other = if id.is_empty() || slot.id.is_empty() {
            id.is_empty() && !name.is_empty() && slot.is_announced && slot.name != name
        } else {
            slot.id != id
        };
        (!is_other).then_some(index)
    }

    fn open(&mut self, key: Option<u64>) -> usize {
        self.slots.push(Slot {
            key,
            id: String::new(),
            name: String::new(),
            is_announced: false,
            has_arguments: false,
            held: String::new(),
        });
        self.slots.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use model::NewMessage;

    use super::*;

    fn calls() -> Calls {
        Calls::new(CallIds(0xab))
    }

    fn call(index: usize, id: &str, name: &str) -> Chunk {
        Chunk::ToolCall { index, id: id.into(), name: name.into() }
    }

    fn arguments(index: usize, text: &str) -> Chunk {
        Chunk::ToolArguments { index, text: text.into() }
    }

    #[test]
    fn pieces_of_two_calls_may_be_mixed() {
        let (mut calls, mut out) = (calls(), Vec::new());
        calls.piece(Some(0), Some("a"), Some("one"), Some(""), &mut out);
        calls.piece(Some(1), Some("b"), Some("two"), None, &mut out);
        calls.piece(Some(0), None, None, Some("{\"x\""), &mut out);
        calls.piece(Some(1), Some("b"), Some("two"), Some("{}"), &mut out);
        calls.piece(Some(0), Some(""), Some(""), Some(":1}"), &mut out);
        calls.close(&mut out).unwrap();
        let expected =
            [call(0, "a", "one"), call(1, "b", "two"), arguments(0, "{\"x\""), arguments(1, "{}"), arguments(0, ":1}")];
        assert_eq!(out, expected);
    }

    #[test]
    fn calls_without_numbers_or_ids_are_told_apart() {
        let (mut calls, mut out) = (calls(), Vec::new());
        calls.piece(Some(0), Some("a"), Some("one"), Some("{}"), &mut out);
        calls.piece(Some(0), Some("b"), Some("one"), Some("[]"), &mut out);
        calls.piece(None, None, Some("two"), None, &mut out);
        calls.piece(None, None, Some("three"), Some("{1}"), &mut out);
        calls.close(&mut out).unwrap();
        let expected = [
            call(0, "a", "one"),
            arguments(0, "{}"),
            call(1, "b", "one"),
            arguments(1, "[]"),
            call(2, "call_00000000000000ab_2", "two"),
            call(3, "call_00000000000000ab_3", "three"),
            arguments(3, "{1}"),
            arguments(2, "{}"),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn arguments_before_the_name_are_held() {
        let (mut calls, mut out) = (calls(), Vec::new());
        calls.piece(Some(0), Some("a"), None, Some("{"), &mut out);
        assert_eq!(out, []);
        calls.piece(Some(0), None, Some("one"), Some("}"), &mut out);
        assert_eq!(out, [call(0, "a", "one"), arguments(0, "{}")]);
        calls.piece(Some(1), Some("b"), None, Some("{}"), &mut out);
        calls.close(&mut out).unwrap_err();
    }

    #[test]
    fn made_ids_differ_from_step_to_step() {
        let mut request = ChatRequest { messages: vec![NewMessage::user("hi")], ..ChatRequest::default() };
        let first = CallIds::of(&request).id(0);
        assert_eq!(CallIds::of(&request).id(0), first);
        request.messages.push(NewMessage::tool_result(first.clone(), "ok"));
        assert_ne!(CallIds::of(&request).id(0), first);
    }
}
