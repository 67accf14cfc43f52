//! The in-memory side of a run that is not over.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use model::{Envelope, InputId, Run, RunId, RunRef, SessionKey, StopCause, TextSoFar};
use store::PendingInput;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::cluster::RemoteText;

/// Unfinished runs by id.
#[derive(Default)]
pub(crate) struct LiveRuns {
    known: Mutex<Known>,
    appeared: Notify,
}

#[derive(Default)]
struct Known {
    runs: HashMap<RunId, Arc<LiveRun>>,
    /// How many of them this node drives.
    here: usize,
    /// Those that other nodes drive, by session, in the order in which they were accepted.
    elsewhere: HashMap<SessionKey, Vec<RunId>>,
}

impl Known {
    fn measure(&self) {
        metrics::gauge!("patchbay_runs_unfinished").set(f64::from(u32::try_from(self.here).unwrap_or(u32::MAX)));
    }

    fn remove(&mut self, id: &RunId) -> Option<Arc<LiveRun>> {
        let live = self.runs.remove(id)?;
        if live.is_here {
            self.here -= 1;
        } else if let Some(others) = self.elsewhere.get_mut(&live.key) {
            others.retain(|other| other != id);
            if others.is_empty() {
                self.elsewhere.remove(&live.key);
            }
        }
        Some(live)
    }
}

impl LiveRuns {
    pub(crate) fn get(&self, id: &RunId) -> Option<Arc<LiveRun>> {
        self.lock().runs.get(id).cloned()
    }

    /// Takes the place of what was known of the run before; whoever waits for that looks again.
    pub(crate) fn insert(&self, live: Arc<LiveRun>) {
        let id = live.reference.run_id.clone();
        let mut known = self.lock();
        let before = known.remove(&id);
        if live.is_here {
            known.here += 1;
        } else {
            known.elsewhere.entry(live.key.clone()).or_default().push(id.clone());
        }
        known.runs.insert(id, live);
        known.measure();
        drop(known);
        if let Some(before) = before {
            before.mark_ended();
        }
        self.appeared.notify_waiters();
    }

    pub(crate) fn remove(&self, id: &RunId) {
        let removed = {
            let mut known = self.lock();
            let removed = known.remove(id);
            known.measure();
            removed
        };
        if let Some(live) = removed {
            live.mark_ended();
        }
        self.appeared.notify_waiters();
    }

    /// How many runs this node drives.
    pub(crate) fn here(&self) -> usize {
        self.lock().here
    }

    /// Runs of a session that other nodes drive, in the order in which they were accepted.
    pub(crate) fn elsewhere(&self, session: &SessionKey) -> Vec<RunId> {
        self.lock().elsewhere.get(session).cloned().unwrap_or_default()
    }

    /// Resolves when a run begins or ends after this call.
    pub(crate) fn appeared(&self) -> impl Future<Output = ()> + '_ {
        let mut notified = Box::pin(self.appeared.notified());
        notified.as_mut().enable();
        notified
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client that joins in the middle of a run needs.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveSnapshot {
    pub run: Run,
    /// The answer so far.
    pub text: String,
    /// Of it the message that is being written; a run with tools writes several.
    pub message: String,
}

pub struct LiveRun {
    /// This node drives it; else this is what it knows of a run that another node drives.
    pub(crate) is_here: bool,
    pub(crate) reference: RunRef,
    pub(crate) key: SessionKey,
    pub(crate) channel: broadcast::Sender<Arc<Envelope>>,
    /// Stops the turn for good.
    pub(crate) cancel: CancellationToken,
    cause: OnceLock<StopCause>,
    seq: AtomicU64,
    tool_calls: AtomicU32,
    state: Mutex<State>,
    input_arrived: Notify,
    ended: watch::Sender<bool>,
}

struct State {
    run: Run,
    text: TextSoFar,
    thinking: TextSoFar,
    chunks: u64,
    inputs: VecDeque<PendingInput>,
    /// The tool that waits for an answer takes the next input.
    asking: bool,
}

/// What a delta event needs to know.
pub(crate) struct Delta {
    pub seq: u64,
    pub index: u64,
    pub so_far: TextSoFar,
}

impl LiveRun {
    /// A run that this node drives.
    pub(crate) fn new(run: Run, channel: broadcast::Sender<Arc<Envelope>>, inputs: Vec<PendingInput>) -> Arc<Self> {
        Self::made(run, channel, inputs, true)
    }

    /// A run that another node drives.
    pub(crate) fn elsewhere(run: Run, channel: broadcast::Sender<Arc<Envelope>>) -> Arc<Self> {
        Self::made(run, channel, Vec::new(), false)
    }

    fn made(
        run: Run,
        channel: broadcast::Sender<Arc<Envelope>>,
        inputs: Vec<PendingInput>,
        is_here: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            is_here,
            reference: reference(&run),
            key: run.session_key.clone(),
            channel,
            cancel: CancellationToken::new(),
            cause: OnceLock::new(),
            seq: AtomicU64::new(run.next_seq),
            tool_calls: AtomicU32::new(0),
            state: Mutex::new(State {
                run,
                text: TextSoFar::new(),
                thinking: TextSoFar::new(),
                chunks: 0,
                inputs: inputs.into(),
                asking: false,
            }),
            input_arrived: Notify::new(),
            ended: watch::Sender::new(false),
        })
    }

    pub fn run(&self) -> Run {
        self.lock().run.clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Run)) -> Run {
        let mut state = self.lock();
        change(&mut state.run);
        state.run.next_seq = self.seq.load(Ordering::Relaxed);
        state.run.clone()
    }

    pub(crate) fn snapshot(&self) -> LiveSnapshot {
        let state = self.lock();
        LiveSnapshot {
            run: state.run.clone(),
            text: state.text.with(str::to_owned),
            message: state.text.with_current(str::to_owned),
        }
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.seq.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts tool calls, those from before a restart included.
    pub(crate) fn count_tool_calls(&self, more: usize) {
        self.tool_calls.fetch_add(u32::try_from(more).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(crate) fn tool_calls(&self) -> u32 {
        self.tool_calls.load(Ordering::Relaxed)
    }

    pub(crate) fn add_text(&self, delta: &str) -> Delta {
        let mut state = self.lock();
        state.text = state.text.push(delta);
        let index = state.chunks;
        state.chunks += 1;
        Delta { seq: self.next_seq(), index, so_far: state.text.clone() }
    }

    /// Takes in a piece of text that another node tells of; gives what is new of it. `Err` when what
    /// comes before it is not known here.
    pub(crate) fn take_text(&self, piece: &RemoteText) -> Result<Option<(String, Delta)>, ()> {
        let mut state = self.lock();
        let State { text, thinking, chunks, .. } = &mut *state;
        let so_far = if piece.thinking { thinking } else { text };
        let known = so_far.len();
        if piece.start > known {
            return Err(());
        }
        let Some(new) = piece.text.get(known - piece.start..).filter(|new| !new.is_empty()) else { return Ok(None) };
        if piece.message >= known && piece.message != so_far.message_start() {
            *so_far = so_far.next_message();
        }
        *so_far = so_far.push(new);
        if !piece.thinking {
            *chunks = piece.index + 1;
        }
        Ok(Some((new.to_owned(), Delta { seq: piece.seq, index: piece.index, so_far: so_far.clone() })))
    }

    /// The text so far as a piece for those who have not seen its beginning; `None` when nothing was said yet.
    pub(crate) fn whole_text(&self, thinking: bool) -> Option<(u64, TextSoFar)> {
        let state = self.lock();
        let so_far = if thinking { &state.thinking } else { &state.text };
        (!so_far.is_empty()).then(|| (state.chunks.saturating_sub(1), so_far.clone()))
    }

    /// Another node begins it anew from its last written step: what it said of an unwritten one is void.
    pub(crate) fn restart_text(&self) {
        let mut state = self.lock();
        (state.text, state.thinking, state.chunks) = (TextSoFar::new(), TextSoFar::new(), 0);
    }

    /// What is written from here on belongs to the next message of the run.
    pub(crate) fn next_message(&self) {
        let mut state = self.lock();
        state.text = state.text.next_message();
    }

    pub(crate) fn add_thinking(&self, delta: &str) -> Delta {
        let mut state = self.lock();
        state.thinking = state.thinking.push(delta);
        Delta { seq: self.next_seq(), index: 0, so_far: state.thinking.clone() }
    }

    /// All text of the run so far, over all its answers.
    pub(crate) fn text(&self) -> String {
        self.lock().text.with(str::to_owned)
    }

    /// The first cause stands.
    pub(crate) fn stop(&self, cause: StopCause) {
        let cause = *self.cause.get_or_init(|| cause);
        self.lock().run.stop_cause = Some(cause);
        self.cancel.cancel();
    }

    pub(crate) fn cause(&self) -> StopCause {
        self.cause.get().copied().unwrap_or(StopCause::User)
    }

    pub(crate) fn is_awaiting_input(&self) -> bool {
        self.lock().asking
    }

    pub(crate) fn set_asking(&self, asking: bool) {
        self.lock().asking = asking;
    }

    pub(crate) fn push_input(&self, input: PendingInput) {
        let mut state = self.lock();
        if !state.inputs.iter().any(|known| known.id == input.id) {
            state.inputs.push_back(input);
        }
        drop(state);
        self.input_arrived.notify_one();
    }

    /// The first input, left in place until what it led to is written down.
    pub(crate) fn first_input(&self) -> Option<PendingInput> {
        self.lock().inputs.front().cloned()
    }

    /// Inputs that no tool waits for; empty while one does.
    pub(crate) fn free_inputs(&self) -> Vec<PendingInput> {
        let state = self.lock();
        if state.asking { Vec::new() } else { state.inputs.iter().cloned().collect() }
    }

    /// Forgets inputs that are about to become part of the transcript; gives their ids.
    pub(crate) fn drop_inputs(&self, used: Vec<PendingInput>) -> Vec<InputId> {
        self.lock().inputs.retain(|input| !used.contains(input));
        used.into_iter().map(|input| input.id).collect()
    }

    pub(crate) async fn input_arrived(&self) {
        self.input_arrived.notified().await;
    }

    pub(crate) async fn ended(&self) {
        // An error means that the sender is gone, and with it the run.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    fn mark_ended(&self) {
        self.ended.send_replace(true);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn reference(run: &Run) -> RunRef {
    RunRef {
        run_id: run.id.clone(),
        session_key: run.session_key.clone(),
        agent_id: run.agent_id.clone(),
        quiet: run.options.quiet,
    }
}
