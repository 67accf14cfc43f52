//! Turns that gave calls back to their client, kept in the store until it comes with the results.
//!
//! An ephemeral session is gone with its answer, and the client knows of it only what it was told:
//! not the agent's own calls with their results, nor the reasoning that some vendors want to see
//! again. When the calls come back, the steps of the turn stand in their place. What is not kept any
//! more is not missed by anybody: then the conversation goes on from what the client says.

mod hand_back;

use std::collections::HashMap;
use std::sync::Arc;

use model::{AgentId, NewMessage, OpError, Role};
use serde::{Deserialize, Serialize};

use super::Runs;
use crate::kept::{self, Shelf, Thing};

/// By the first call as the client knows it.
const SHELF: Shelf = Shelf { kind: "turn", count_max: 1000, bytes_max: 16 * 1024 * 1024, kept_ms: 3_600_000 };

/// A turn that waits for its client.
#[derive(Clone, Serialize, Deserialize)]
struct Turn {
    agent: AgentId,
    /// Each call as the client knows it, and as the steps do.
    ids: Vec<(String, String)>,
    /// What the run wrote, without its question.
    steps: Vec<NewMessage>,
}

impl Turn {
    fn is_asked_by(&self, message: &NewMessage) -> bool {
        message.tool_calls.len() == self.ids.len()
            && message.tool_calls.iter().all(|call| self.ids.iter().any(|(shown, _)| *shown == call.id))
    }
}

impl Runs {
    async fn keep_handed(&self, owner: String, turn: Turn) -> Result<(), OpError> {
        let Some((first, _)) = turn.ids.first().cloned() else { return Ok(()) };
        self.kept.keep(&SHELF, vec![Thing::new(first, owner, &turn, self.clock.now())]).await
    }

    /// Puts the steps of kept turns of the same owner and agent in the place of the messages that
    /// told of them. `answers_call` is the call that the message behind the conversation answers.
    pub(super) async fn restore(
        &self,
        (owner, agent): (&str, &AgentId),
        conversation: &mut Vec<NewMessage>,
        answers_call: &mut Option<String>,
    ) -> Result<(), OpError> {
        let asked: Vec<String> =
            conversation.iter().flat_map(|message| &message.tool_calls).map(|call| call.id.clone()).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let (owner, now) = (owner.to_owned(), self.clock.now());
        let turns: HashMap<String, Arc<Turn>> = self
            .store
            .read::<_, OpError, _>(move |snapshot| {
                let mut turns = HashMap::new();
                for id in asked {
                    if let Some(turn) = kept::find::<Turn>(snapshot, &SHELF, &owner, &id, now)? {
                        turns.insert(id, Arc::new(turn));
                    }
                }
                Ok(turns)
            })
            .await?;
        put_back(&turns, agent, conversation, answers_call);
        Ok(())
    }
}

fn put_back(
    turns: &HashMap<String, Arc<Turn>>,
    agent: &AgentId,
    conversation: &mut Vec<NewMessage>,
    answers_call: &mut Option<String>,
) {
    let mut names: HashMap<String, String> = HashMap::new();
    let mut restored = Vec::with_capacity(conversation.len());
    for mut message in std::mem::take(conversation) {
        let known = message.tool_calls.iter().find_map(|call| turns.get(&call.id));
        if let Some(turn) = known.filter(|turn| turn.agent == *agent && turn.is_asked_by(&message)) {
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

fn rename(call: &mut Option<String>, names: &HashMap<String, String>) {
    if let Some(name) = call.as_ref().and_then(|id| names.get(id)) {
        *call = Some(name.clone());
    }
}

#[cfg(test)]
mod tests {
    use model::ToolCall;

    use super::*;

    fn asks(id: &str) -> NewMessage {
        let call = ToolCall { id: id.to_owned(), name: String::from("weather"), arguments: String::from("{}") };
        NewMessage { tool_calls: vec![call], ..NewMessage::assistant("") }
    }

    /// The length of the conversation that comes back, and the call that its last message answers.
    fn put_back_for(agent: &AgentId, shown: &str) -> (usize, String) {
        let steps = vec![NewMessage::assistant("own step"), asks("c1")];
        let turn = Turn { agent: AgentId::main(), ids: vec![(String::from("call_1"), String::from("c1"))], steps };
        let turns = HashMap::from([(String::from("call_1"), Arc::new(turn))]);
        let mut conversation = vec![NewMessage::user("hi"), asks(shown)];
        let mut answers = Some(shown.to_owned());
        put_back(&turns, agent, &mut conversation, &mut answers);
        (conversation.len(), answers.unwrap())
    }

    #[test]
    fn the_steps_of_a_turn_stand_in_its_place_for_its_agent() {
        assert_eq!(put_back_for(&AgentId::main(), "call_1"), (3, String::from("c1")));
        assert_eq!(put_back_for(&AgentId::main(), "call_2"), (2, String::from("call_2")));
        let other = AgentId::parse("other").unwrap();
        assert_eq!(put_back_for(&other, "call_1"), (2, String::from("call_1")));
    }
}
