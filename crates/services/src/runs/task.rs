//! The task that drives one turn to its terminal state.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use agent::{OpenCall, Turn, TurnEnd, TurnLimits, TurnOutcome};
use futures_util::FutureExt;
use model::{
    Agent, ErrorKind, Event, Fence, InputId, MessageId, ModelRef, NewMessage, OpError, Role, Run, RunError, RunOutcome,
    RunState, Session, SessionKey, SessionKind, StopCause, Timestamp, ToolCallRecord, ToolCallState,
};
use providers::Sampling;
use store::{Conversation, Foresight, StoreError, Tx};
use tools::ToolContext;
use tracing::Instrument;

use super::Runs;
use super::ask::AskThroughRun;
use super::finished;
use super::journal::{TurnJournal, append_final};
use super::live::LiveRun;
use super::persist::{WAITS, foreseen};
use crate::kept::KeptThings;
use crate::sessions::{CompactOptions, Glance, StoredSearch, append_message, split_system};

/// What a turn begins with.
struct Opening {
    session: Option<Session>,
    history: Vec<NewMessage>,
    calls: Vec<ToolCallRecord>,
}

impl Runs {
    /// Starts the next run of a session when it is ready and nothing stands in its way.
    pub(crate) fn pump(self: &Arc<Self>, key: &SessionKey) {
        if self.lifecycle.stopping().is_cancelled() {
            return;
        }
        while let Some(id) = self.mailboxes.next(key) {
            let Some(live) = self.live.get(&id) else {
                // Withdrawn between the two looks.
                self.mailboxes.done(key, &id);
                continue;
            };
            let runs = Arc::clone(self);
            let span = tracing::info_span!("run", run_id = %id, session = %key);
            self.lifecycle.spawn(async move { runs.drive(live).await }.instrument(span));
            return;
        }
    }

    async fn drive(self: Arc<Self>, live: Arc<LiveRun>) {
        let turn = AssertUnwindSafe(self.turn(&live)).catch_unwind().await;
        let outcome = match turn {
            Ok(Ok(Some(outcome))) => outcome,
            // Stopped with the gateway: what is written stands, and the next start goes on from there.
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "the run could not go on");
                failed(&live, error)
            }
            Err(_) => failed(&live, OpError::new(ErrorKind::Internal, "internal error")),
        };
        if let Some(written) = self.end(&live, outcome).await {
            self.after(&live, written).await;
        }
    }

    /// Gives `None` when the gateway stops before the turn is over.
    async fn turn(self: &Arc<Self>, live: &Arc<LiveRun>) -> Result<Option<TurnOutcome>, OpError> {
        let agent = self.agents.require(&live.reference.agent_id)?;
        let (run, opening) = self.begin(live, &agent).await?;
        if live.cancel.is_cancelled() {
            return Ok(Some(TurnOutcome {
                end: TurnEnd::Cancelled { partial: None },
                model: None,
                iterations: 0,
                usage: run.usage,
            }));
        }
        let opening = match opening {
            Some(opening) => opening,
            None => self.open(&run).await?,
        };
        let turn = self.prepare(live, &agent, &run, opening).await?;
        let journal = TurnJournal::new(Arc::clone(self), Arc::clone(live));
        let router = Arc::clone(self.models.router());
        let limit = self.time_limit(&run);
        let work = turn.run(&router, &journal);
        tokio::pin!(work);
        let finished = tokio::select! {
            biased;
            () = self.lifecycle.stopping().cancelled() => return Ok(None),
            finished = &mut work => finished,
            () = sleep_or_forever(limit) => {
                live.stop(StopCause::Timeout);
                work.await
            }
        };
        match finished {
            Ok(outcome) => Ok(Some(outcome)),
            Err(_) if self.lifecycle.stopping().is_cancelled() => Ok(None),
            Err(error) => Err(OpError::unavailable("the database did not take a step of the run").with_source(error)),
        }
    }

    /// Marks the run as running, once; a run taken up after a restart is running already. In a session that
    /// was talking just now, the same unit of work reads what the turn begins with.
    async fn begin(&self, live: &Arc<LiveRun>, agent: &Agent) -> Result<(Run, Option<Opening>), OpError> {
        let stored = live.run();
        if stored.state == RunState::Running {
            return Ok((stored, None));
        }
        let now = self.clock.now();
        let model = self.candidates(&stored, agent, None).first().cloned();
        let seq = live.next_seq();
        let run = live.update(|run| {
            run.state = RunState::Running;
            run.started_at = Some(now);
            run.model.clone_from(&model);
        });
        let (row, event) = (
            run.clone(),
            Event::RunStarted {
                run: live.reference.clone(),
                seq,
                model: model.map_or_else(String::new, |model| model.to_string()),
            },
        );
        let transcripts = self.sessions.transcripts();
        let seen = transcripts.seen(&row.session_id);
        let mut foresight = Foresight { runs: vec![row.id.clone()], ..Foresight::default() };
        if let Some(seen) = seen.clone() {
            let (session, transcript) = (row.session_key.clone(), row.session_id.clone());
            foresight.sessions.push(session.clone());
            foresight.conversations.push(Conversation { session, transcript, seen });
        }
        let written = self.persist(foresight, move |tx| {
            let read = match seen.clone() {
                Some(seen) => Some((
                    tx.sessions().get(&row.session_key)?,
                    Glance::at(tx, &row, seen)?,
                    tx.tool_calls().of_run(&row.id)?,
                )),
                None => None,
            };
            if !tx.runs_mut().update_unfinished(&row)? {
                return Err(OpError::not_found(model::Noun::Run, &row.id));
            }
            tx.events_mut().append(now, &event)?;
            Ok(read)
        });
        match written.await {
            Ok(read) => {
                let opening = read.and_then(|(session, glance, calls)| {
                    Some(Opening { session, history: transcripts.continued(&run, glance)?, calls })
                });
                Ok((run, opening))
            }
            Err(error) => {
                // Nobody was told that it started, so its end must not say so.
                live.update(|run| (run.state, run.started_at, run.model) = (stored.state, None, stored.model));
                Err(error)
            }
        }
    }

    async fn open(&self, run: &Run) -> Result<Opening, OpError> {
        let (row, transcripts) = (run.clone(), self.sessions.transcripts());
        let read = self.recall(move |snapshot| {
            let session = snapshot.sessions().get(&row.session_key)?;
            let history = transcripts.conversation(snapshot, &row)?;
            Ok(Opening { session, history, calls: snapshot.tool_calls().of_run(&row.id)? })
        });
        read.await
    }

    /// The session's choice, then the run's, the agent's own and its fallbacks.
    fn candidates(&self, run: &Run, agent: &Agent, session_model: Option<&ModelRef>) -> Vec<ModelRef> {
        let own = run.options.model.clone().or_else(|| session_model.cloned()).or_else(|| self.models.model_of(agent));
        let mut candidates: Vec<ModelRef> = own.into_iter().collect();
        for fallback in &agent.fallbacks {
            if !candidates.contains(fallback) {
                candidates.push(fallback.clone());
            }
        }
        candidates
    }

    async fn prepare(
        self: &Arc<Self>,
        live: &Arc<LiveRun>,
        agent: &Arc<Agent>,
        run: &Run,
        Opening { session, history, calls }: Opening,
    ) -> Result<Turn, OpError> {
        let settings = session.map(|session| session.settings).unwrap_or_default();
        let candidates = self.candidates(run, agent, settings.model.as_ref());
        if candidates.is_empty() {
            return Err(OpError::conflict(
                "no model is configured; set `agents.main.model`, or run `patchbay models pull default`",
            ));
        }
        let open_calls = open_calls(&history, &calls);
        live.count_tool_calls(calls.len());
        let (history, prelude) = split_system(history);
        let workspace = agent.workspace.clone();
        let documents = if workspace.as_os_str().is_empty() {
            // An agent without a folder has no documents.
            Vec::default()
        } else {
            tokio::task::spawn_blocking(move || agent::prompt::read_documents(&workspace)).await.unwrap_or_default()
        };
        let names = run.options.tools.as_deref().or(agent.tools.as_deref());
        let tools = self.tools.select(names);
        let mut system = agent::prompt::system_text(agent, &documents);
        for extra in prelude
            .iter()
            .map(|message| message.content.text())
            .chain(run.options.extra_system.as_deref().map(Into::into))
        {
            system.push_str("\n\n");
            system.push_str(&extra);
        }
        let limits = self.limits();
        Ok(Turn {
            candidates,
            system,
            history,
            open_calls,
            tools,
            client_tools: run.options.client_tools.clone().unwrap_or_default(),
            context: ToolContext {
                agent: agent.id.clone(),
                session: run.session_key.clone(),
                run: run.id.clone(),
                workspace: agent.workspace.clone(),
                node: self.cluster.has_peers().then(|| Arc::from(self.cluster.name())),
                cancel: live.cancel.clone(),
                clock: Arc::clone(&self.clock),
                user: Arc::new(AskThroughRun(Arc::downgrade(self))),
                sessions: Arc::new(StoredSearch(Arc::clone(&self.store))),
            },
            thinking: run.options.thinking.or(settings.thinking).unwrap_or(agent.thinking),
            sampling: Sampling {
                temperature: run.options.temperature,
                max_output_tokens: run.options.limits.output_tokens,
                ..Sampling::default()
            },
            limits: TurnLimits {
                iterations: run.options.limits.iterations.unwrap_or(limits.max_iterations),
                tokens: run.options.limits.tokens.or(Some(limits.run_tokens).filter(|tokens| *tokens > 0)),
                tool_output_chars: usize::try_from(limits.tool_output_chars).unwrap_or(usize::MAX),
            },
            iterations: run.iterations,
            usage: run.usage,
        })
    }

    /// What is left of the run's time; `None` = no limit.
    fn time_limit(&self, run: &Run) -> Option<Duration> {
        let limit_ms = run.options.limits.time_ms.unwrap_or(self.limits().run_timeout_secs * 1000);
        let spent = run.started_at.map_or(0, |at| self.clock.now().ms_since(at));
        (limit_ms > 0).then(|| Duration::from_millis(limit_ms.saturating_sub(spent)))
    }

    /// Writes the terminal state, once, however long the database is away. `None` when the gateway
    /// stopped first: then the next start finds the run unfinished and ends it.
    async fn end(&self, live: &Arc<LiveRun>, outcome: TurnOutcome) -> Option<Written> {
        let now = self.clock.now();
        let seq = live.next_seq();
        let TurnOutcome { end, model, iterations, usage } = outcome;
        let handed = match &end {
            TurnEnd::HandedBack { text, calls, .. } => Some((text.clone(), calls.clone())),
            _ => None,
        };
        let (message, state, told) = describe_end(live, end);
        let (response, client_calls) = match handed {
            Some((text, calls)) => (text, self.hand_back(live, calls).await),
            None => {
                let text = message.as_ref().map(|message| message.content.text().into_owned());
                (text.unwrap_or_else(|| live.text()), Vec::new())
            }
        };
        let run = live.update(|run| {
            run.state = state;
            run.ended_at = Some(now);
            run.model = model.or(run.model.take());
            (run.iterations, run.usage) = (iterations.max(run.iterations), usage);
            run.response = Some(response.clone());
            run.awaiting = None;
            run.stop_cause = None;
            match &told {
                RunOutcome::Completed { reason } => run.end_reason = Some(*reason),
                RunOutcome::Cancelled { cause } => run.stop_cause = Some(*cause),
                RunOutcome::Failed { kind, message } => {
                    run.error = Some(RunError { kind: ErrorKind::from_word(kind), message: message.clone() });
                }
            }
        });
        let event = Event::RunEnded {
            run: live.reference.clone(),
            seq,
            started: run.started_at.is_some(),
            outcome: told,
            response,
            model: run.model.as_ref().map(ToString::to_string),
            usage: run.usage,
            iterations: run.iterations,
            tool_calls: live.tool_calls(),
            duration_ms: run.started_at.map_or(0, |at| now.ms_since(at)),
            client_calls,
        };
        self.mailboxes.ending(&live.key, &live.reference.run_id);
        self.write_end(run, message, event).await
    }

    async fn write_end(&self, run: Run, message: Option<NewMessage>, event: Event) -> Option<Written> {
        let message = message.map(|message| (self.ids.message(), message));
        let mut waits = WAITS.iter().copied().chain(std::iter::repeat(WAITS[3]));
        loop {
            let (row, message, event) = (run.clone(), message.clone(), event.clone());
            let (holder, kept) = (self.holder(), Arc::clone(&self.kept));
            let foresight = Foresight {
                messages: message.iter().map(|(id, _)| id.clone()).collect(),
                transcripts: vec![row.session_id.clone()],
                ..foreseen(&row)
            };
            let written = self.store.write_foreseen::<_, OpError, _>(foresight, move |tx| {
                if row.session_key.kind() == SessionKind::Ephemeral {
                    return end_ephemeral(tx, &kept, &row, event);
                }
                end_run(tx, row, message, event, holder)
            });
            let written = written.await;
            match written {
                Ok(written) => return Some(written),
                Err(error) => {
                    tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "the end of the run could not be written yet");
                }
            }
            let wait = waits.next().unwrap_or(WAITS[3]);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.lifecycle.stopping().cancelled() => return None,
            }
        }
    }

    /// Ends a run that never started, or that cannot be gone on with.
    pub(crate) async fn finish_unstarted(
        self: &Arc<Self>,
        live: &Arc<LiveRun>,
        cause: StopCause,
    ) -> Result<(), OpError> {
        let now = self.clock.now();
        let seq = live.next_seq();
        let run = live.update(|run| {
            run.state = RunState::Cancelled;
            run.stop_cause = Some(cause);
            run.ended_at = Some(now);
        });
        let event = Event::RunEnded {
            run: live.reference.clone(),
            seq,
            started: run.started_at.is_some(),
            outcome: RunOutcome::Cancelled { cause },
            response: String::new(),
            model: None,
            usage: run.usage,
            iterations: 0,
            tool_calls: 0,
            duration_ms: 0,
            client_calls: Vec::new(),
        };
        let runs = Arc::clone(self);
        // On a task of its own: a caller that goes away must not keep the run from its end.
        let id = run.id.clone();
        let ending = self.lifecycle.spawn_with(async move {
            let is_written = runs.write_end(run, None, event).await.is_some();
            if is_written {
                runs.forget(&id);
            }
            is_written
        });
        // An end that is not written down must not be told: the next start goes on with the run.
        let is_written = ending.await.unwrap_or(false);
        if is_written { Ok(()) } else { Err(OpError::unavailable("the gateway is stopping")) }
    }

    fn forget(&self, id: &model::RunId) {
        self.live.remove(id);
        self.channels.close(id);
    }

    /// The run is over: let go of it, shorten the session when it has grown long, start the next.
    async fn after(self: &Arc<Self>, live: &Arc<LiveRun>, written: Written) {
        let (key, id) = (&live.key, &live.reference.run_id);
        self.forget(id);
        if self.wants_compaction(written) {
            let options = CompactOptions { automatic: true, ..CompactOptions::default() };
            tokio::select! {
                biased;
                () = self.lifecycle.stopping().cancelled() => return,
                result = self.sessions.compact(key, options) => if let Err(error) = result {
                    tracing::warn!(%error, "the session could not be compacted");
                }
            }
            if self.cluster.is_shared() {
                self.let_go_everywhere(key).await;
            }
        }
        self.mailboxes.done(key, id);
        self.pump(key);
    }

    /// Who holds a session that is to be shortened after the run; nobody has to where this node is alone.
    fn holder(&self) -> Option<Holder> {
        let rules = self.sessions.rules();
        (self.cluster.is_shared() && rules.compaction.enabled)
            .then(|| Holder { me: self.cluster.me(), threshold: rules.compaction.threshold })
    }

    fn wants_compaction(&self, written: Written) -> bool {
        let rules = &self.sessions.rules().compaction;
        rules.enabled && written.session_tokens > rules.threshold
    }
}

/// Keeps a session that has grown too long from other nodes.
#[derive(Debug, Clone, Copy)]
struct Holder {
    me: Fence,
    threshold: u64,
}

/// What was written with the end of a run.
#[derive(Debug, Clone, Copy)]
struct Written {
    /// Tokens of the session's transcript; 0 when nothing of it stays.
    session_tokens: u64,
}

/// Calls of the run's last step without a result in the transcript. Calls of a conversation that came
/// with the run are none of its own.
fn open_calls(history: &[NewMessage], calls: &[model::ToolCallRecord]) -> Vec<OpenCall> {
    let Some(step) =
        history.iter().rposition(|message| message.role == Role::Assistant && !message.tool_calls.is_empty())
    else {
        return Vec::new();
    };
    let is_answered = |id: &str| history[step..].iter().any(|message| message.tool_call_id.as_deref() == Some(id));
    history[step]
        .tool_calls
        .iter()
        .filter(|call| !is_answered(&call.id))
        .filter_map(|call| {
            let record = calls.iter().find(|record| record.call_id == call.id)?;
            let was_started = record.state == ToolCallState::Started;
            Some(OpenCall { call: call.clone(), was_started })
        })
        .collect()
}

fn describe_end(live: &LiveRun, end: TurnEnd) -> (Option<NewMessage>, RunState, RunOutcome) {
    match end {
        TurnEnd::Completed { message, reason } => {
            (Some(message), RunState::Completed, RunOutcome::Completed { reason })
        }
        TurnEnd::HandedBack { reason, .. } => (None, RunState::Completed, RunOutcome::Completed { reason }),
        TurnEnd::Cancelled { partial } => {
            let cause = live.cause();
            (
                partial.map(|message| mark_partial(message, "cancelled")),
                RunState::Cancelled,
                RunOutcome::Cancelled { cause },
            )
        }
        TurnEnd::Failed { error, partial } => {
            let told = RunOutcome::Failed { kind: error.kind.word().to_owned(), message: error.message };
            (partial.map(|message| mark_partial(message, "error")), RunState::Failed, told)
        }
    }
}

fn mark_partial(mut message: NewMessage, reason: &str) -> NewMessage {
    message.metadata.insert(String::from("partial"), true.into());
    message.metadata.insert(String::from("stop_reason"), reason.into());
    message
}

fn failed(live: &LiveRun, error: OpError) -> TurnOutcome {
    let run = live.run();
    let error = RunError { kind: error.kind, message: error.message };
    let end = TurnEnd::Failed { error, partial: None };
    TurnOutcome { end, model: run.model, iterations: run.iterations, usage: run.usage }
}

const NOTHING: Written = Written { session_tokens: 0 };

/// The session goes with its run; what became of that may be asked for a while.
fn end_ephemeral(tx: &dyn Tx, kept: &KeptThings, run: &Run, event: Event) -> Result<Written, OpError> {
    if tx.runs_mut().update_unfinished(run)? {
        tx.sessions_mut().delete(&run.session_key)?;
        finished::keep(tx, kept, run)?;
        tx.events_mut().append(run.ended_at.unwrap_or(run.accepted_at), &event)?;
    }
    Ok(NOTHING)
}

fn end_run(
    tx: &dyn Tx,
    mut run: Run,
    message: Option<(MessageId, NewMessage)>,
    event: Event,
    holder: Option<Holder>,
) -> Result<Written, OpError> {
    let now = run.ended_at.unwrap_or(run.accepted_at);
    // Deleted with its session, or ended before: exactly one terminal event was written then.
    let Some(mut session) = tx.sessions().get(&run.session_key)? else { return Ok(NOTHING) };
    // A reset that came before this end took the run along, with its message.
    run.session_id.clone_from(&session.id);
    if !tx.runs_mut().update_unfinished(&run)? {
        return Ok(NOTHING);
    }
    session.aborted_last_run = run.state == RunState::Cancelled;
    if let Some((id, message)) = &message {
        append_final(tx, &mut session, &run, id, message, now)?;
    }
    keep_inputs(tx, &mut session, &run, now)?;
    tx.sessions_mut().put(&session)?;
    tx.runs_mut().clear_inputs(&run.id)?;
    let event = close_calls(tx, &run, event, now)?;
    tx.events_mut().append(now, &event)?;
    if let Some(holder) = holder.filter(|holder| session.token_count > holder.threshold) {
        // No other node may start a run before this one has shortened the session.
        tx.nodes_mut().hold(&run.session_key, holder.me)?;
    }
    Ok(Written { session_tokens: session.token_count })
}

/// Input that came too late for this turn was accepted all the same: the next turn sees it.
fn keep_inputs(tx: &dyn Tx, session: &mut Session, run: &Run, now: Timestamp) -> Result<(), StoreError> {
    for input in tx.runs().inputs(&run.id)? {
        let id = MessageId::trusted(input.id.as_str().replacen(InputId::PREFIX, MessageId::PREFIX, 1));
        append_message(tx, session, &id, None, now, &NewMessage::user(input.text))?;
    }
    Ok(())
}

/// Tells the end of tools whose own end could not be written; gives the run's end behind them.
fn close_calls(tx: &dyn Tx, run: &Run, mut end: Event, now: Timestamp) -> Result<Event, StoreError> {
    let Event::RunEnded { run: reference, seq, .. } = &mut end else { return Ok(end) };
    let calls = tx.tool_calls().of_run(&run.id)?;
    for call in calls.into_iter().filter(|call| call.state == ToolCallState::Started) {
        let result = String::from("interrupted");
        let event = Event::ToolEnded {
            run: reference.clone(),
            seq: *seq,
            call_id: call.call_id.clone(),
            name: call.name.clone(),
            result: result.clone(),
            is_error: true,
            duration_ms: call.started_at.map_or(0, |at| now.ms_since(at)),
        };
        tx.events_mut().append(now, &event)?;
        *seq += 1;
        let state = ToolCallState::Interrupted;
        tx.tool_calls_mut().put(&ToolCallRecord { state, result: Some(result), ended_at: Some(now), ..call })?;
    }
    Ok(end)
}

async fn sleep_or_forever(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}
