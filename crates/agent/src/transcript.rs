//! A conversation as vendors demand it: each tool call with its result behind it, ids that differ.

use std::collections::HashSet;

use model::id::ID_BYTES_MAX;
use model::{NewMessage, Role, ToolCall};

/// The result told for a call that has none, for instance after a run that failed in between.
const NO_RESULT: &str = "error: no result of this call was written down";

/// The conversation for one provider.
///
/// Results stand directly behind the message that asked for them, in whatever place they were
/// written (a user may have spoken in between); missing ones are filled in; results of calls that
/// are not there any more are left out. Reasoning goes back only to the provider that it came from.
pub(crate) fn for_provider(history: &[NewMessage], provider: &str) -> Vec<NewMessage> {
    let mut out = Vec::with_capacity(history.len());
    let mut used = HashSet::new();
    for (at, message) in history.iter().enumerate() {
        if message.role == Role::Tool {
            continue;
        }
        out.push(without_foreign_reasoning(message, provider));
        for call in &message.tool_calls {
            let result = history.iter().enumerate().skip(at + 1).find(|(place, other)| {
                other.role == Role::Tool && other.tool_call_id.as_deref() == Some(&call.id) && !used.contains(place)
            });
            match result {
                Some((place, result)) => {
                    used.insert(place);
                    out.push(result.clone());
                }
                None => out.push(NewMessage::tool_result(call.id.as_str(), NO_RESULT)),
            }
        }
    }
    out
}

fn without_foreign_reasoning(message: &NewMessage, provider: &str) -> NewMessage {
    let mut message = message.clone();
    let is_own =
        message.model.as_deref().and_then(|model| model.split_once('/')).is_some_and(|(own, _)| own == provider);
    if !is_own {
        message.reasoning = None;
    }
    message
}

/// Gives each call an id that no other call of the conversation has: some vendors number the calls
/// of every answer anew, and a call is written down under its id.
pub(crate) fn make_ids_unique(calls: &mut [ToolCall], history: &[NewMessage]) {
    let mut taken: HashSet<String> =
        history.iter().flat_map(|message| &message.tool_calls).map(|call| call.id.clone()).collect();
    for call in calls {
        let is_legal = (1..=ID_BYTES_MAX).contains(&call.id.len())
            && call.id.trim() == call.id
            && !call.id.chars().any(char::is_control);
        let wanted = if is_legal { call.id.clone() } else { String::from("call") };
        let mut id = wanted.clone();
        let mut number = 2;
        while taken.contains(&id) {
            let base: String = wanted.chars().take(ID_BYTES_MAX / 8).collect();
            id = format!("{base}_{number}");
            number += 1;
        }
        taken.insert(id.clone());
        call.id = id;
    }
}

#[cfg(test)]
mod tests;
