//! Turns that gave calls back to their client, kept until it comes with the results.
//!
//! An ephemeral session is gone with its answer, and the client knows of it only what it was told:
//! not the agent's own calls with their results, nor the reasoning that some vendors want to see
//! again. When the calls come back, the steps of the turn stand in their place. What is not kept any
//! more is not missed by anybody: then the conversation goes on from what the client says.

mod hand_back;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{AgentId, NewMessage, Role, Timestamp};

/// How many turns are kept; the oldest go first.
const TURNS_MAX: usize = 1000;
/// How much their steps may have together, in bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;
const KEPT_MS: i64 = 3_600_000;

/// A turn that waits for its client.
struct Turn {
    /// The principal that it belongs to.
    owner: String,
    agent: AgentId,
    /// Each call as the client knows it, and as the steps do.
    ids: Vec<(String, String)>,
    /// What the run wrote, without its question.
    steps: Vec<NewMessage>,
    at: Timestamp,
}

impl Turn {
    fn bytes(&self) -> usize {
        self.steps.iter().map(bytes).sum()
    }

    fn is_asked_by(&self, message: &NewMessage) -> bool {
        message.tool_calls.len() == self.ids.len()
            && message.tool_calls.iter().all(|call| self.ids.iter().any(|(shown, _)| *shown == call.id))
    }
}

#[derive(Default)]
pub(crate) struct Handed {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By the first call as the client knows it.
    turns: HashMap<String, Turn>,
    order: VecDeque<String>,
    bytes: usize,
}

impl Handed {
    fn keep(&self, turn: Turn) {
        let Some((first, _)) = turn.ids.first().cloned() else { return };
        let mut kept = self.lock();
        kept.bytes += turn.bytes();
        kept.order.push_back(first.clone());
        kept.turns.insert(first, turn);
        while kept.order.len() > TURNS_MAX || kept.bytes > BYTES_MAX {
            kept.drop_oldest();
        }
    }

    /// Puts the steps of kept turns of the same owner and agent in the place of the messages that
    /// told of them. `answers_call` is the call that the message behind the conversation answers.
    pub(crate) fn restore(
        &self,
        (owner, agent): (&str, &AgentId),
        conversation: &mut Vec<NewMessage>,
        answers_call: &mut Option<String>,
        now: Timestamp,
    ) {
        if conversation.iter().all(|message| message.tool_calls.is_empty()) {
            return;
        }
        let mut kept = self.lock();
        kept.drop_old(now);
        let mut names: HashMap<String, String> = HashMap::new();
        let mut restored = Vec::with_capacity(conversation.len());
        for mut message in std::mem::take(conversation) {
            let known = message.tool_calls.iter().find_map(|call| kept.turns.get(&call.id));
            let known = known.filter(|turn| turn.owner == owner && turn.agent == *agent && turn.is_asked_by(&message));
            if let Some(turn) = known {
                names.extend(turn.ids.iter().cloned());
                restored.extend(turn.steps.iter().cloned());
                continue;
            }
            if message.role == Role::Tool {
                rename(&mut message.tool_call_id, &names);
            }
            restored.push(message);
        }
        *conversation = restored;
        rename(answers_call, &names);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop_oldest(&mut self) {
        if let Some(turn) = self.order.pop_front().and_then(|first| self.turns.remove(&first)) {
            self.bytes -= turn.bytes();
        }
    }

    fn drop_old(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|oldest| self.turns.get(oldest).is_none_or(|turn| is_old(turn, now))) {
            self.drop_oldest();
        }
    }
}

fn rename(call: &mut Option<String>, names: &HashMap<String, String>) {
    if let Some(name) = call.as_ref().and_then(|id| names.get(id)) {
        *call = Some(name.clone());
    }
}

fn is_old(turn: &Turn, now: Timestamp) -> bool {
    turn.at.plus_ms(KEPT_MS) < now
}

fn bytes(message: &NewMessage) -> usize {
    let calls: usize =
        message.tool_calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum();
    let reasoning = message.reasoning.as_ref().map_or(0, |reasoning| {
        reasoning.text.len() + reasoning.blocks.iter().map(|block| block.to_string().len()).sum::<usize>()
    });
    message.content.text().len() + calls + reasoning
}

#[cfg(test)]
mod tests {
    use model::ToolCall;

    use super::*;

    fn asks(id: &str) -> NewMessage {
        let call = ToolCall { id: id.to_owned(), name: String::from("weather"), arguments: String::from("{}") };
        NewMessage { tool_calls: vec![call], ..NewMessage::assistant("") }
    }

    fn turn(shown: &str, text: &str) -> Turn {
        let steps = vec![NewMessage::assistant(text), asks("c1")];
        let (owner, agent, ids) = (String::from("ann"), AgentId::main(), vec![(shown.to_owned(), String::from("c1"))]);
        Turn { owner, agent, ids, steps, at: Timestamp::from_ms(0) }
    }

    /// The length of the conversation that comes back, and the call that its last message answers.
    fn restored(handed: &Handed, owner: &str, shown: &str, now: i64) -> (usize, String) {
        let mut conversation = vec![NewMessage::user("hi"), asks(shown)];
        let mut answers = Some(shown.to_owned());
        handed.restore((owner, &AgentId::main()), &mut conversation, &mut answers, Timestamp::from_ms(now));
        (conversation.len(), answers.unwrap())
    }

    #[test]
    fn a_turn_is_its_owners_for_an_hour() {
        let handed = Handed::default();
        handed.keep(turn("call_1", "own step"));
        assert_eq!(restored(&handed, "ann", "call_1", KEPT_MS), (3, String::from("c1")));
        assert_eq!(restored(&handed, "bob", "call_1", 0), (2, String::from("call_1")));
        assert_eq!(restored(&handed, "ann", "call_2", 0), (2, String::from("call_2")));
        assert_eq!(restored(&handed, "ann", "call_1", KEPT_MS + 1), (2, String::from("call_1")));
        assert_eq!(handed.lock().bytes, 0);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_they_are_too_large() {
        let handed = Handed::default();
        for number in 0..=TURNS_MAX {
            handed.keep(turn(&format!("call_{number}"), "own step"));
        }
        assert_eq!(restored(&handed, "ann", "call_0", 0).0, 2);
        assert_eq!(restored(&handed, "ann", "call_1", 0).0, 3);
        handed.keep(turn("large", &"x".repeat(BYTES_MAX + 1)));
        let kept = handed.lock();
        assert_eq!((kept.bytes, kept.turns.len()), (0, 0));
    }
}
