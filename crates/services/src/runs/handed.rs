//! Turns that gave calls back to their client, kept until it comes with the results.
//!
//! An ephemeral session is gone with its answer, and the client knows of it only what it was told:
//! not the agent's own calls with their results, nor the reasoning that some vendors want to see
//! again. When the calls come back, the steps of the turn stand in their place. What is not kept any
//! more is not missed by anybody: then the conversation goes on from what the client says.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{AgentId, NewMessage, OpError, Role, SessionKind, Timestamp, ToolCall};

use super::Runs;
use super::accept::NewRun;
use super::live::LiveRun;

/// How many turns are kept; the oldest go first.
const TURNS_MAX: usize = 1000;
/// How much their steps may have together, in bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;
const KEPT_MS: i64 = 3_600_000;

impl Runs {
    /// Names calls for the client by ids that no other turn has, and keeps the run's steps for its
    /// return. Calls of a session that lasts stay as they are: they are in its transcript.
    pub(crate) async fn hand_back(&self, live: &Arc<LiveRun>, calls: Vec<ToolCall>) -> Vec<ToolCall> {
        if live.key.kind() != SessionKind::Ephemeral {
            return calls;
        }
        let shown: Vec<ToolCall> = calls
            .iter()
            .map(|call| ToolCall { id: self.ids.tool_call().as_str().to_owned(), ..call.clone() })
            .collect();
        let run = live.run();
        let (id, question) = (run.id.clone(), run.message_id.clone());
        let read = self
            .store
            .read::<_, OpError, _>(move |snapshot| {
                let written = snapshot.messages().of_run(&id)?.into_iter();
                Ok(written.filter(|message| message.id != question).map(|message| message.body).collect::<Vec<_>>())
            })
            .await;
        match read {
            Ok(steps) => {
                let ids = shown.iter().zip(calls).map(|(shown, own)| (shown.id.clone(), own.id)).collect();
                self.handed.keep(Turn { owner: run.started_by, agent: run.agent_id, ids, steps, at: self.clock.now() });
            }
            Err(error) => tracing::warn!(%error, "the steps of a turn that a client goes on with are not kept"),
        }
        shown
    }
}

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
    /// told of them.
    pub(crate) fn restore(&self, owner: &str, new: &mut NewRun, now: Timestamp) {
        if new.prelude.iter().all(|message| message.tool_calls.is_empty()) {
            return;
        }
        let mut kept = self.lock();
        while kept.order.front().is_some_and(|oldest| kept.turns.get(oldest).is_none_or(|turn| is_old(turn, now))) {
            kept.drop_oldest();
        }
        let agent = new.session.agent();
        let mut names: HashMap<String, String> = HashMap::new();
        let mut restored = Vec::with_capacity(new.prelude.len());
        for mut message in std::mem::take(&mut new.prelude) {
            let known = message.tool_calls.iter().find_map(|call| kept.turns.get(&call.id));
            let known = known.filter(|turn| turn.owner == owner && turn.agent == agent && turn.is_asked_by(&message));
            if let Some(turn) = known {
                names.extend(turn.ids.iter().cloned());
                restored.extend(turn.steps.iter().cloned());
                continue;
            }
            if message.role == Role::Tool
                && let Some(name) = message.tool_call_id.as_ref().and_then(|id| names.get(id))
            {
                message.tool_call_id = Some(name.clone());
            }
            restored.push(message);
        }
        new.prelude = restored;
        if let Some(name) = new.answers_call.as_ref().and_then(|id| names.get(id)) {
            new.answers_call = Some(name.clone());
        }
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
