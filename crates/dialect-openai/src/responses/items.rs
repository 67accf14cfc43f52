//! The items of a request's input, as messages of a conversation.

use std::sync::Arc;

use model::{NewMessage, Role, ToolCall};
use serde_json::Value;

use super::content;
use super::kept::Referred;
use crate::chat::messages::PartPlace;
use crate::check::{Fields, Issues, expected, one_of};

const TYPES: [&str; 5] = ["message", "function_call", "function_call_output", "reasoning", "item_reference"];
const ROLES: [&str; 4] = ["user", "assistant", "system", "developer"];

/// What is found while reading items in order.
pub(super) struct Reader<'a> {
    /// What was said before the input.
    pub earlier: &'a [Arc<NewMessage>],
    /// What the input may refer to.
    pub referred: &'a Referred,
    pub issues: &'a mut Issues,
    pub messages: Vec<NewMessage>,
    pub places: Vec<PartPlace>,
}

impl Reader<'_> {
    /// Reads `input`: a string is what a user says.
    pub fn input(&mut self, fields: &Fields<'_>) {
        match fields.get("input") {
            Some(Value::String(text)) => self.messages.push(NewMessage::user(text.as_str())),
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(item) = Fields::new(item, format!("input.{index}"), self.issues) {
                        self.item(&item);
                    }
                }
            }
            other => self.issues.add("input", expected("string or array", other)),
        }
    }

    /// `None` stands for a fault that was noted.
    fn item(&mut self, item: &Fields<'_>) -> Option<()> {
        let kind = match item.get("type") {
            None if item.get("role").is_some() => "message",
            None if item.get("id").is_some() => "item_reference",
            other => other.and_then(Value::as_str).unwrap_or_default(),
        };
        match kind {
            "message" => self.message(item),
            "function_call" => self.function_call(item),
            "function_call_output" => self.function_call_output(item),
            "item_reference" => self.item_reference(item),
            "reasoning" => {
                // Only its own vendor could read it, and that is not told who wrote it.
                item.only(&["type", "id", "summary", "content", "encrypted_content", "status"], self.issues);
                Some(())
            }
            _ => {
                self.issues.add(item.at("type"), one_of(&TYPES));
                None
            }
        }
    }

    fn message(&mut self, item: &Fields<'_>) -> Option<()> {
        item.only(&["type", "role", "content", "id", "status", "phase"], self.issues);
        let Some(role) = item.choice("role", &ROLES, self.issues) else {
            if item.get("role").is_none() {
                self.issues.add(item.at("role"), one_of(&ROLES));
            }
            return None;
        };
        let allowed: &[&str] = if role == "assistant" { &content::OUTPUT } else { &content::INPUT };
        let content = content::read(item, "content", allowed, &mut self.places, self.issues)?;
        self.messages.push(match role {
            "user" => NewMessage::user(content),
            "assistant" => NewMessage::assistant(content),
            _ => NewMessage::system(content),
        });
        Some(())
    }

    fn function_call(&mut self, item: &Fields<'_>) -> Option<()> {
        item.only(&["type", "id", "call_id", "name", "arguments", "status"], self.issues);
        let id = item.filled_string("call_id", self.issues);
        let name = item.filled_string("name", self.issues);
        let arguments = item.required_string("arguments", self.issues);
        self.call(ToolCall { id: id?.to_owned(), name: name?.to_owned(), arguments: arguments?.to_owned() });
        Some(())
    }

    /// Calls of one answer stand in one message, behind its words.
    fn call(&mut self, call: ToolCall) {
        match self.messages.last_mut().filter(|last| last.role == Role::Assistant) {
            Some(last) => last.tool_calls.push(call),
            None => self.messages.push(NewMessage { tool_calls: vec![call], ..NewMessage::assistant("") }),
        }
    }

    fn function_call_output(&mut self, item: &Fields<'_>) -> Option<()> {
        item.only(&["type", "id", "call_id", "output", "status"], self.issues);
        let id = item.filled_string("call_id", self.issues);
        let output = content::read(item, "output", &content::RESULT, &mut self.places, self.issues);
        let (id, output) = (id?, output?);
        let mut before = self.earlier.iter().map(Arc::as_ref).chain(&self.messages);
        if !before.any(|message| message.tool_calls.iter().any(|call| call.id == id)) {
            self.issues.add(item.at("call_id"), format!("no earlier item asks for the call {id:?}"));
            return None;
        }
        self.messages.push(NewMessage::tool_result(id, output));
        Some(())
    }

    fn item_reference(&mut self, item: &Fields<'_>) -> Option<()> {
        item.only(&["type", "id"], self.issues);
        let id = item.filled_string("id", self.issues)?;
        let Some(message) = self.referred.item(id).cloned() else {
            self.issues.add(item.at("id"), format!("Item with id '{id}' not found."));
            return None;
        };
        if let Some(message) = message {
            if message.tool_calls.is_empty() {
                self.messages.push(message);
            } else {
                message.tool_calls.into_iter().for_each(|call| self.call(call));
            }
        }
        Some(())
    }
}
