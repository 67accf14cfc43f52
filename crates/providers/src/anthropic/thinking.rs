//! Whether and how to ask a model of this wire to think.

use model::{NewMessage, Role, Thinking};
use serde_json::{Value, json};

use crate::chat::{ChatRequest, ToolChoice};
use crate::presets::bare_id;
use crate::provider::ModelInfo;

/// The least budget that the vendor takes, in tokens.
const BUDGET_MIN: u32 = 1024;

/// What goes into the body for thinking.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    Off,
    /// A fixed budget, in tokens.
    Budget(u32),
    /// The model finds its own measure, guided by an effort.
    Adaptive(&'static str),
}

impl Plan {
    /// `max_tokens` is the limit of the answer, thinking included.
    ///
    /// Thinking is left out where the vendor would refuse the request for it: beside a forced tool,
    /// in the middle of a tool loop that began without, and when the limit leaves no room.
    pub fn of(request: &ChatRequest, info: &ModelInfo, max_tokens: u32) -> Self {
        let Some(level) = request.thinking.filter(|level| *level != Thinking::Off) else { return Plan::Off };
        let forces_a_tool = matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
        if !info.capabilities.thinking || forces_a_tool || is_in_unthinking_loop(&request.messages) {
            return Plan::Off;
        }
        if adapts(&request.model) {
            return Plan::Adaptive(effort(&request.model, level));
        }
        // Half of the limit at most, so that an answer follows the thought.
        let budget = level.budget_tokens().min(max_tokens / 2);
        if budget < BUDGET_MIN { Plan::Off } else { Plan::Budget(budget) }
    }

    pub fn body(&self) -> Option<Value> {
        match self {
            Plan::Off => None,
            Plan::Budget(tokens) => Some(json!({ "type": "enabled", "budget_tokens": tokens })),
            Plan::Adaptive(_) => Some(json!({ "type": "adaptive", "display": "summarized" })),
        }
    }
}

/// A block that this vendor made: it is kept and sent back as it is.
pub(super) fn is_block(block: &Value) -> bool {
    block.get("type").is_some_and(|kind| kind == "thinking" || kind == "redacted_thinking")
}

/// From 4.7 on the models refuse a budget, and temperatures with it.
pub(super) fn adapts(model: &str) -> bool {
    version(model).is_some_and(|version| version >= (4, 7))
}

fn effort(model: &str, level: Thinking) -> &'static str {
    match level {
        Thinking::Off | Thinking::Minimal | Thinking::Low => "low",
        Thinking::Medium => "medium",
        Thinking::Xhigh if model.contains("opus") => "xhigh",
        Thinking::High | Thinking::Xhigh => "high",
    }
}

/// `claude-opus-4-7-20260101` → (4, 7); dates are longer than two digits.
fn version(model: &str) -> Option<(u32, u32)> {
    let id = bare_id(model);
    let mut numbers =
        id.strip_prefix("claude-")?.split(['-', '.']).skip_while(|word| number(word).is_none()).map_while(number);
    Some((numbers.next()?, numbers.next().unwrap_or(0)))
}

fn number(word: &str) -> Option<u32> {
    if word.len() <= 2 { word.parse().ok() } else { None }
}

/// The last step called tools without a thinking block before the call, and now has their results.
fn is_in_unthinking_loop(messages: &[NewMessage]) -> bool {
    let Some(last) = messages.iter().rev().find(|message| message.role != Role::Tool) else { return false };
    let has_block = last.reasoning.as_ref().is_some_and(|reasoning| reasoning.blocks.iter().any(is_block));
    last.role == Role::Assistant && !last.tool_calls.is_empty() && !has_block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_ids_old_and_new() {
        assert_eq!(version("claude-3-7-sonnet-20250219"), Some((3, 7)));
        assert_eq!(version("claude-sonnet-4-20250514"), Some((4, 0)));
        assert_eq!(version("anthropic/claude-opus-4.7"), Some((4, 7)));
        assert_eq!(version("claude-haiku-4-5-20251001"), Some((4, 5)));
        assert_eq!(version("glm-4.6"), None);
        assert!(adapts("claude-sonnet-5") && !adapts("claude-opus-4-6"));
    }
}
