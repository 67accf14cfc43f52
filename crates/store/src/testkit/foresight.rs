//! What a unit says beforehand changes no answer.

use std::sync::{Arc, Mutex, PoisonError};

use model::{
    Fence, InputId, MessageId, NewMessage, Run, RunId, RunState, SessionId, SessionKey, StopCause, ToolCallRecord,
    ToolCallState,
};
use serde_json::json;

use super::place::{Dice, Reopen, write};
use super::rows::{at, key, run, session};
use crate::{
    Conversation, Foresight, MessagePage, NewNode, Outcome, PendingInput, Seen, Snapshot, StoreError, Tx, WriteJob,
};

const UNITS: usize = 160;
/// Seeds of units that do everything, and from there on of units that only write what many units write.
const SEEDS: u64 = 12;
const BUSY_FROM: u64 = 5;
/// So few that units meet each other's rows again and again.
const NAMES: u64 = 3;
/// Units of which busy ones have the same names; then there are others, because what has ended stays so.
const FELLOWS: usize = 8;
/// Busy units that may meet in one transaction; the next ones find what they wrote.
const TOGETHER: usize = 5;

/// What units do, and what they do it to.
#[derive(Debug, Clone, Copy)]
struct Manner {
    is_busy: bool,
    /// Names begin with this number.
    first: u64,
}

impl Manner {
    fn of(seed: u64, number: usize) -> Self {
        let is_busy = seed >= BUSY_FROM;
        Self { is_busy, first: if is_busy { 1000 * seed + (number / FELLOWS) as u64 } else { 0 } }
    }
}

/// Rows of one of two sides, which must not differ but for the names.
#[derive(Debug, Clone, Copy)]
struct Side(char);

const FORESEEN: Side = Side('q');
const UNFORESEEN: Side = Side('z');

impl Side {
    fn as_foreseen(self, words: &str) -> String {
        words.replace(self.0, &FORESEEN.0.to_string())
    }

    fn session_name(self, number: u64) -> String {
        format!("agent:main:dm:{}{number}", self.0)
    }

    fn session(self, number: u64) -> SessionKey {
        key(&self.session_name(number))
    }

    fn transcript(self, number: u64) -> SessionId {
        SessionId::trusted(format!("ses_{}", self.session_name(number)))
    }

    fn run(self, number: u64) -> RunId {
        RunId::trusted(format!("run_{}{number}", self.0))
    }

    fn message(self, number: u64) -> MessageId {
        MessageId::trusted(format!("msg_{}{number}", self.0))
    }

    /// A transcript as somebody may have seen it.
    fn conversation(self, dice: &mut Dice, number: u64) -> Conversation {
        let count = 1 + dice.roll(2);
        let last_seq = i64::try_from(count).unwrap_or_default();
        let seen = Seen { first: self.message(number), last: self.message(number + count - 1), last_seq, count };
        Conversation { session: self.session(number), transcript: self.transcript(number), seen }
    }

    /// What a unit may or may not ask for, as chance has it.
    fn foresight(self, dice: &mut Dice, first: u64) -> Foresight {
        let mut all = Foresight::default();
        for number in first..first + NAMES {
            let mut one = Foresight {
                sessions: vec![self.session(number)],
                transcripts: vec![self.transcript(number)],
                runs: vec![self.run(number)],
                conversations: vec![self.conversation(dice, number)],
                messages: (first..first + 2 * NAMES).map(|number| self.message(number)).collect(),
            };
            match dice.roll(8) {
                0 => one.sessions.clear(),
                1 => one.runs.clear(),
                2 => one.messages.clear(),
                3 => one.conversations.clear(),
                _ => {}
            }
            all.join(one);
        }
        all
    }

    /// Asks or changes something; gives the answer in words.
    fn act(
        self,
        tx: &dyn Tx,
        dice: &mut Dice,
        nodes: [Fence; 2],
        Manner { is_busy, first }: Manner,
    ) -> Result<String, StoreError> {
        let (name, other) = (first + dice.roll(NAMES), first + dice.roll(NAMES));
        let node = if dice.roll(2) == 0 { nodes[0] } else { nodes[1] };
        let (key, transcript, id) = (self.session(name), self.transcript(name), self.run(other));
        let place = (&key, &transcript);
        // A transcript often begins with the message of its own number.
        let message = self.message(if dice.roll(2) == 0 { name } else { first + dice.roll(2 * NAMES) });
        let state = if dice.roll(3) == 0 { RunState::Completed } else { RunState::Running };
        let stop_cause = (dice.roll(2) == 0).then_some(StopCause::Timeout);
        let row = Run { owner: node, state, stop_cause, ..run(id.as_str(), key.as_str()) };
        let what = if is_busy { [2, 4, 4, 9, 10, 13, 13, 23, 24][dice.roll(9) as usize] } else { dice.roll(26) };
        Ok(match what {
            0 | 1 => format!("{:?}", tx.sessions().get(&key)?),
            2 => format!(
                "{:?}",
                tx.sessions_mut().put(&session(key.as_str(), i64::try_from(dice.roll(5)).unwrap_or_default()))
            ),
            3 => format!("{:?}", tx.sessions_mut().delete(&key)),
            4..=6 => {
                let run = (dice.roll(2) == 0).then_some(&id);
                format!("{:?}", tx.messages_mut().append(place, &message, run, at(1), &NewMessage::user("a word")))
            }
            7 => format!("{:?}", tx.messages_mut().transfer(&message, place)),
            8 => format!("{:?}", tx.messages_mut().clear(&transcript, false)),
            9 => format!("{:?}", tx.messages_mut().remove_head(&transcript, 1)),
            10 => format!("{:?}", tx.runs_mut().insert(&row)),
            11 | 12 => format!("{:?}", tx.runs_mut().update(&row)),
            13..=15 => format!("{:?}", tx.runs_mut().update_unfinished(&row)),
            16 => format!("{:?}", tx.runs().get(&id)?),
            17 => format!("{:?}", tx.nodes().owner_of(&key)?),
            18 => format!("{:?}", tx.nodes_mut().hold(&key, node)),
            19 => format!("{:?}", tx.nodes_mut().let_go(&key, node)),
            20 => {
                let input = PendingInput {
                    id: InputId::trusted(format!("in_{}{name}", self.0)),
                    text: String::new(),
                    at: at(1),
                };
                format!("{:?}", tx.runs_mut().add_input(&id, &input))
            }
            21 => format!("{:?} {:?}", tx.runs().inputs(&id)?, tx.runs_mut().clear_inputs(&id)),
            22 => format!("{:?}", tx.tool_calls_mut().put(&call(&id))),
            23 => {
                let seen = self.conversation(dice, name).seen;
                format!("{:?}", tx.messages().behind(&transcript, &seen)?)
            }
            24 => format!("{:?}", tx.runs().unfinished_of(&key)?),
            _ => format!("{:?}", tx.tool_calls().of_run(&id)?),
        })
    }

    /// Everything that is stored of this side.
    fn everything(self, snapshot: &dyn Snapshot, seed: u64) -> Result<String, StoreError> {
        let mut all = String::new();
        for number in Manner::of(seed, 0).first..Manner::of(seed, UNITS).first + NAMES {
            let (key, id) = (self.session(number), self.run(number));
            let messages = snapshot.messages().page(&self.transcript(number), &MessagePage::default())?;
            all += &format!("{:?} {messages:?}\n", snapshot.sessions().get(&key)?);
            all += &format!("{:?} {:?}\n", snapshot.runs().get(&id)?, snapshot.nodes().owner_of(&key)?);
            all += &format!("{:?} {:?}\n", snapshot.runs().inputs(&id)?, snapshot.tool_calls().of_run(&id)?);
        }
        Ok(all)
    }
}

fn call(run: &RunId) -> ToolCallRecord {
    ToolCallRecord {
        run_id: run.clone(),
        call_id: String::from("call_1"),
        name: String::from("clock"),
        arguments: String::from("{}"),
        state: ToolCallState::Pending,
        result: None,
        started_at: None,
        ended_at: None,
    }
}

fn node(name: &str) -> NewNode {
    NewNode {
        name: name.to_owned(),
        host: String::from("here"),
        version: String::from("0.1.0"),
        pid: 1,
        addresses: json!({}),
        lease_ms: 5000,
        at: at(1),
    }
}

/// What each unit of one side was answered, and how it ended.
type Told = Arc<Mutex<Vec<String>>>;

/// A unit that does what chance says, and keeps it or not.
fn unit(side: Side, number: usize, seed: u64, nodes: [Fence; 2], manner: Manner, told: &Told) -> WriteJob {
    let told = Arc::clone(told);
    let tell = move |words: String| told.lock().unwrap_or_else(PoisonError::into_inner)[number].push_str(&words);
    Box::new(move |tx| {
        let tx = tx.expect("the store is open");
        let mut dice = Dice::new(seed);
        for _ in 0..=dice.roll(5) {
            tell(side.act(tx, &mut dice, nodes, manner).expect("answers") + "; ");
        }
        let is_kept = dice.roll(5) > 0;
        let finish = Box::new(move |ended| tell(format!("{is_kept} {ended:?}")));
        if is_kept { Outcome::Commit(finish) } else { Outcome::Rollback(finish) }
    })
}

/// Units that say beforehand what they ask for, and as many that do not, do the same to rows of their own:
/// in turn, or one after the other, so that many meet in one transaction that say so.
pub async fn what_is_foreseen_changes_no_answer(place: &dyn Reopen) {
    let store = place.open().await;
    let nodes = write(&store, |tx| Ok([tx.nodes_mut().join(&node("a"))?, tx.nodes_mut().join(&node("b"))?])).await;
    for seed in 1..=SEEDS {
        let mut dice = Dice::new(seed);
        let [with, without] = [(); 2].map(|()| Told::new(Mutex::new(vec![String::new(); UNITS])));
        let mut later = Vec::new();
        for number in 0..UNITS {
            let manner = Manner::of(seed, number);
            let foresight = FORESEEN.foresight(&mut dice, manner.first);
            let seed = dice.roll(u64::MAX);
            store.submit_foreseen(unit(FORESEEN, number, seed, nodes, manner, &with), foresight).await;
            later.push(unit(UNFORESEEN, number, seed, nodes, manner, &without));
            if !manner.is_busy {
                store.submit(later.remove(0)).await;
            } else if number % TOGETHER == 0 {
                write(&store, |_| Ok(())).await;
            }
        }
        for unit in later {
            store.submit(unit).await;
        }
        // Of two that are queued the first is told first.
        let stored =
            write(&store, move |tx| Ok([FORESEEN.everything(tx, seed)?, UNFORESEEN.everything(tx, seed)?])).await;
        let lines = |told: &Told| told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (number, (with, without)) in lines(&with).iter().zip(lines(&without)).enumerate() {
            assert_eq!(*with, UNFORESEEN.as_foreseen(&without), "seed {seed}, unit {number}");
        }
        assert_eq!(stored[0], UNFORESEEN.as_foreseen(&stored[1]), "seed {seed}");
    }
}
