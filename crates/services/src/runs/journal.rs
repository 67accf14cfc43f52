//! How a turn's steps are written down and told.

use std::sync::Arc;

use agent::{Journal, JournalError, Step, ToolOutcome};
use async_trait::async_trait;
use model::{
    ErrorKind, Event, ModelRef, NewMessage, Noun, OpError, Role, RunId, SessionKind, ToolCall, ToolCallRecord,
    ToolCallState, Usage,
};
use store::{PendingInput, StoreError, Tx};

use super::Runs;
use super::live::LiveRun;
use super::persist::foreseen;
use crate::sessions::{CompactOptions, append_message, split_system};

pub(crate) struct TurnJournal {
    runs: Arc<Runs>,
    live: Arc<LiveRun>,
    ephemeral: bool,
}

impl TurnJournal {
    pub(crate) fn new(runs: Arc<Runs>, live: Arc<LiveRun>) -> Self {
        let ephemeral = live.key.kind() == SessionKind::Ephemeral;
        Self { runs, live, ephemeral }
    }

    /// Writes to the run's session, once the database takes it; fails when the run is not there any
    /// more, with its session.
    async fn write(
        &self,
        change: impl Fn(&dyn Tx, &mut model::Session) -> Result<(), OpError> + Send + Sync + 'static,
    ) -> Result<(), JournalError> {
        let run = self.live.run();
        let now = self.runs.clock.now();
        let fresh = self.runs.ids.session();
        let foresight = foreseen(&run);
        let work = move |tx: &dyn Tx| {
            if !tx.runs_mut().update_unfinished(&run)? {
                return Err(OpError::not_found(Noun::Run, &run.id));
            }
            let mut session = crate::sessions::open_session(tx, &run.session_key, fresh.clone(), now)?;
            change(tx, &mut session)?;
            session.updated_at = now;
            Ok::<(), OpError>(tx.sessions_mut().put(&session)?)
        };
        self.runs.persist(foresight, work).await.map_err(|error| JournalError(Box::new(error)))
    }
}

#[async_trait]
impl Journal for TurnJournal {
    async fn model_chosen(&self, model: &ModelRef) -> Result<(), JournalError> {
        // The run row gets it with the next step; nobody waits for it.
        self.live.update(|run| run.model = Some(model.clone()));
        Ok(())
    }

    fn text(&self, text: &str) {
        let delta = self.live.add_text(text);
        let (runs, live) = (&self.runs, &self.live);
        let is_wanted = live.channel.receiver_count() > 0 || runs.cluster.has_peers();
        let envelope = runs.bus.publish_ephemeral(runs.clock.now(), is_wanted, || Event::RunDelta {
            run: live.reference.clone(),
            seq: delta.seq,
            index: delta.index,
            text: Arc::from(text),
            so_far: delta.so_far,
        });
        if let Some(envelope) = envelope {
            runs.tell_others(live, &envelope);
            let _ = live.channel.send(envelope);
        }
    }

    fn reasoning(&self, text: &str) {
        let delta = self.live.add_thinking(text);
        let (runs, live) = (&self.runs, &self.live);
        let is_wanted = live.channel.receiver_count() > 0 || runs.cluster.has_peers();
        let envelope = runs.bus.publish_ephemeral(runs.clock.now(), is_wanted, || Event::RunThinking {
            run: live.reference.clone(),
            seq: delta.seq,
            text: Arc::from(text),
            so_far: delta.so_far,
        });
        if let Some(envelope) = envelope {
            runs.tell_others(live, &envelope);
            let _ = live.channel.send(envelope);
        }
    }

    async fn step(&self, step: &Step) -> Result<(), JournalError> {
        self.live.next_message();
        let run = self.live.update(|run| {
            run.iterations = step.iterations;
            run.usage = step.usage;
        });
        self.live.count_tool_calls(step.message.tool_calls.len());
        let (message, id, now) = (step.message.clone(), self.runs.ids.message(), self.runs.clock.now());
        self.write(move |tx, session| {
            append_message(tx, session, &id, Some(&run.id), now, &message)?;
            add_usage(session, message.usage);
            for call in &message.tool_calls {
                tx.tool_calls_mut().put(&ToolCallRecord {
                    run_id: run.id.clone(),
                    call_id: call.id.clone(),
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                    state: ToolCallState::Pending,
                    result: None,
                    started_at: None,
                    ended_at: None,
                })?;
            }
            Ok(())
        })
        .await
    }

    async fn tool_started(&self, call: &ToolCall) -> Result<(), JournalError> {
        let seq = self.live.next_seq();
        let run = self.live.update(|_| {});
        let (call, now, reference, ephemeral) =
            (call.clone(), self.runs.clock.now(), self.live.reference.clone(), self.ephemeral);
        self.write(move |tx, _| {
            // A repeatable call that a restart interrupted is run again; to listeners it is still the same call.
            let was_told = known(tx, &run.id, &call.id)?.is_some_and(|known| known.started_at.is_some());
            tx.tool_calls_mut().put(&ToolCallRecord {
                run_id: run.id.clone(),
                call_id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
                state: ToolCallState::Started,
                result: None,
                started_at: Some(now),
                ended_at: None,
            })?;
            if !ephemeral && !was_told {
                let ToolCall { id: call_id, name, arguments } = call.clone();
                let run = reference.clone();
                tx.events_mut().append(now, &Event::ToolStarted { run, seq, call_id, name, arguments })?;
            }
            Ok(())
        })
        .await
    }

    async fn tool_ended(&self, call: &ToolCall, outcome: &ToolOutcome, duration_ms: u64) -> Result<(), JournalError> {
        let seq = self.live.next_seq();
        // A question that was not asked, or not answered, has used nobody's words.
        let has_answer = call.name == "ask_user" && !outcome.is_error;
        let answered: Vec<PendingInput> =
            if has_answer { self.live.first_input().into_iter().collect() } else { Vec::new() };
        let answered = self.live.drop_inputs(answered);
        let run = self.live.update(|run| run.awaiting = None);
        let (call, outcome, id) = (call.clone(), outcome.clone(), self.runs.ids.message());
        let (now, reference, ephemeral) = (self.runs.clock.now(), self.live.reference.clone(), self.ephemeral);
        self.write(move |tx, session| {
            let state = match (outcome.interrupted, outcome.is_error) {
                (true, _) => ToolCallState::Interrupted,
                (false, true) => ToolCallState::Failed,
                (false, false) => ToolCallState::Succeeded,
            };
            let started_at = known(tx, &run.id, &call.id)?.and_then(|known| known.started_at);
            tx.tool_calls_mut().put(&ToolCallRecord {
                run_id: run.id.clone(),
                call_id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
                state,
                result: Some(outcome.text.clone()),
                started_at,
                ended_at: Some(now),
            })?;
            let mut message = NewMessage::tool_result(&call.id, outcome.text.as_str());
            if outcome.is_error {
                message.metadata.insert(String::from("is_error"), true.into());
            }
            append_message(tx, session, &id, Some(&run.id), now, &message)?;
            tx.runs_mut().remove_inputs(&run.id, &answered)?;
            // A call that was cancelled before it began was never told of, and has no end to tell either.
            if !ephemeral && started_at.is_some() {
                let event = Event::ToolEnded {
                    run: reference.clone(),
                    seq,
                    call_id: call.id.clone(),
                    name: call.name.clone(),
                    result: outcome.text.clone(),
                    is_error: outcome.is_error,
                    duration_ms,
                };
                tx.events_mut().append(now, &event)?;
            }
            Ok(())
        })
        .await
    }

    async fn take_inputs(&self) -> Result<Vec<NewMessage>, JournalError> {
        let inputs = self.live.free_inputs();
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let messages: Vec<NewMessage> = inputs.iter().map(|input| NewMessage::user(input.text.as_str())).collect();
        let rows: Vec<_> = messages.iter().map(|message| (self.runs.ids.message(), message.clone())).collect();
        let taken = self.live.drop_inputs(inputs);
        let (run, now) = (self.live.run(), self.runs.clock.now());
        self.write(move |tx, session| {
            for (id, body) in &rows {
                append_message(tx, session, id, Some(&run.id), now, body)?;
            }
            Ok(tx.runs_mut().remove_inputs(&run.id, &taken)?)
        })
        .await?;
        Ok(messages)
    }

    async fn compact(&self) -> Result<Option<Vec<NewMessage>>, JournalError> {
        let active = Some(self.live.reference.run_id.clone());
        let options = CompactOptions { automatic: true, active, ..CompactOptions::default() };
        let result = self.runs.sessions.compact(&self.live.key, options).await;
        let result = match result {
            // A long conversation is no reason to give up a turn that could go on.
            Err(error) if error.kind == ErrorKind::Unavailable => {
                tracing::warn!(%error, "the session could not be shortened in the middle of a turn");
                return Ok(None);
            }
            result => result.map_err(|error| JournalError(Box::new(error)))?,
        };
        if !result.is_some_and(|compaction| compaction.compacted) {
            return Ok(None);
        }
        let run = self.live.run();
        let transcripts = self.runs.sessions.transcripts();
        let read = self.runs.recall(move |snapshot| Ok(transcripts.conversation(snapshot, &run)?));
        let messages = read.await.map_err(|error| JournalError(Box::new(error)))?;
        Ok(Some(split_system(messages).0))
    }

    fn has_inputs(&self) -> bool {
        !self.live.free_inputs().is_empty()
    }
}

fn known(tx: &dyn Tx, run: &RunId, call_id: &str) -> Result<Option<ToolCallRecord>, StoreError> {
    Ok(tx.tool_calls().of_run(run)?.into_iter().find(|known| known.call_id == call_id))
}

pub(crate) fn add_usage(session: &mut model::Session, usage: Option<Usage>) {
    if let Some(usage) = usage {
        session.input_tokens += usage.input;
        session.output_tokens += usage.output;
    }
}

/// The final assistant message with its place in the transcript.
pub(crate) fn append_final(
    tx: &dyn Tx,
    session: &mut model::Session,
    run: &model::Run,
    id: &model::MessageId,
    message: &NewMessage,
    now: model::Timestamp,
) -> Result<(), store::StoreError> {
    debug_assert_eq!(message.role, Role::Assistant);
    append_message(tx, session, id, Some(&run.id), now, message)?;
    add_usage(session, message.usage);
    Ok(())
}
