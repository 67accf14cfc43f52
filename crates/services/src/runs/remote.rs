//! Runs that other nodes drive, as this one knows them; and taking them up when their node is gone.
//!
//! Every node keeps a picture of each unfinished run of the cluster, drawn from the log and from the
//! text that its driver tells, so that whoever follows, asks or cancels may do it anywhere.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{
    Cursor, Envelope, Event, Fence, OpError, Run, RunError, RunId, RunOptions, RunOutcome, RunState, SessionKey,
    SessionKind,
};

use super::Runs;
use super::live::{LiveRun, reference};
use crate::cluster::{Heirs, Remote, RemoteText};
use crate::tokens::Tokens;

/// A run that was accepted elsewhere starts so much later at most, should nobody say that its client
/// has its answer.
const GO_LIMIT: Duration = Duration::from_millis(100);

/// Carries what other nodes do into this one's memory.
pub(crate) struct Follower {
    pub runs: Arc<Runs>,
    pub tokens: Arc<Tokens>,
}

#[async_trait]
impl Remote for Follower {
    async fn happened(&self, envelope: &Arc<Envelope>) -> Result<(), OpError> {
        match &envelope.event {
            Event::TokenCreated { token_id } => self.tokens.learn(token_id).await,
            Event::TokenRevoked { token_id } => {
                self.tokens.forget(std::slice::from_ref(token_id));
                Ok(())
            }
            Event::NodeJoined { .. } => {
                self.runs.cluster.members_changed();
                Ok(())
            }
            Event::NodeLeft { .. } => {
                self.runs.cluster.members_changed();
                self.runs.take_up_orphans().await.map(drop)
            }
            _ => self.runs.happened_elsewhere(envelope).await,
        }
    }

    fn text(&self, from: Fence, text: RemoteText) {
        self.runs.said_elsewhere(from, &text);
    }

    fn go(&self, run: &RunId) {
        if let Some(live) = self.runs.live.get(run).filter(|live| live.is_here) {
            self.runs.release(&live.key, run);
        }
    }

    fn asked(&self, run: &RunId) {
        self.runs.repeat_text(run);
    }
}

#[async_trait]
impl Heirs for Follower {
    async fn take_up_orphans(&self) -> Result<usize, OpError> {
        self.runs.take_up_orphans().await
    }
}

impl Runs {
    /// The answer to the client is on its way. The run may start once this node knows of everything that
    /// was accepted before it elsewhere.
    pub(super) fn release(self: &Arc<Self>, key: &SessionKey, id: &RunId) {
        let Some(behind) = self.bus.behind() else {
            self.mailboxes.release(key, id);
            self.pump(key);
            return;
        };
        let (runs, key, id) = (Arc::clone(self), key.clone(), id.clone());
        self.lifecycle.spawn(async move {
            tokio::select! {
                () = runs.bus.reached(behind) => {
                    runs.mailboxes.release(&key, &id);
                    runs.pump(&key);
                }
                () = runs.lifecycle.stopping().cancelled() => {}
            }
        });
    }

    async fn happened_elsewhere(self: &Arc<Self>, envelope: &Arc<Envelope>) -> Result<(), OpError> {
        let me = self.cluster.me();
        let Some(run) = envelope.event.run() else { return Ok(()) };
        let id = &run.run_id;
        if let Event::RunAccepted { owner, .. } = &envelope.event {
            // A client that got no answer elsewhere may be giving the same message here just now; what that
            // has put into the queue until it knows better must be gone.
            let _turn = self.id_locks.lock(id).await;
            return match self.live.get(id) {
                Some(_) => Ok(()),
                None if *owner == me => self.take_up_for_another(id, envelope.position).await,
                None => {
                    self.picture(envelope);
                    Ok(())
                }
            };
        }
        let Some(live) = self.live.get(id) else { return Ok(()) };
        if live.is_here {
            return match &envelope.event {
                Event::StopAsked { cause, by, .. } if *by != me => self.cancel_here(&live, *cause).await,
                Event::InputAccepted { input_id, by, .. } if *by != me => {
                    let (id, input_id) = (id.clone(), input_id.clone());
                    let inputs = self.store.read::<_, OpError, _>(move |snapshot| Ok(snapshot.runs().inputs(&id)?));
                    let input = inputs.await?.into_iter().find(|input| input.id == input_id);
                    input.into_iter().for_each(|input| live.push_input(input));
                    Ok(())
                }
                _ => Ok(()),
            };
        }
        self.redraw(&live, envelope);
        Ok(())
    }

    /// Brings the picture of a run up to an event of it.
    fn redraw(&self, live: &Arc<LiveRun>, envelope: &Envelope) {
        let (id, at) = (&live.reference.run_id, envelope.at);
        match &envelope.event {
            Event::RunStarted { model, .. } => {
                live.update(|run| {
                    run.state = RunState::Running;
                    run.started_at = Some(at);
                    run.model = model.parse().ok();
                });
            }
            Event::InputRequested { input_id, prompt, options, .. } => {
                let (input_id, prompt, options) = (input_id.clone(), prompt.clone(), options.clone());
                live.update(|run| run.awaiting = Some(model::AwaitingInput { input_id, prompt, options }));
            }
            Event::ToolEnded { .. } => {
                live.update(|run| run.awaiting = None);
            }
            Event::RunTakenOver { to, .. } => {
                live.restart_text();
                live.update(|run| run.owner = *to);
            }
            Event::RunEnded { outcome, response, usage, iterations, .. } => {
                live.update(|run| {
                    run.ended_at = Some(at);
                    run.response = Some(response.clone());
                    (run.usage, run.iterations, run.awaiting) = (*usage, *iterations, None);
                    end_as(run, outcome);
                });
                self.live.remove(id);
                self.channels.close(id);
            }
            _ => {}
        }
    }

    /// Text of a run that another node drives.
    fn said_elsewhere(&self, from: Fence, piece: &RemoteText) {
        let Some(live) = self.live.get(&piece.run).filter(|live| !live.is_here) else { return };
        if live.run().owner != from {
            // It has been replaced, and does not know it yet.
            return;
        }
        let (text, delta) = match live.take_text(piece) {
            Ok(Some(new)) => new,
            Ok(None) => return,
            Err(()) => {
                self.cluster.outbox().ask(piece.run.clone());
                return;
            }
        };
        let run = live.reference.clone();
        let is_wanted = live.channel.receiver_count() > 0;
        let envelope = self.bus.publish_ephemeral(piece.at, is_wanted, || {
            let text = Arc::from(text.as_str());
            let (seq, so_far) = (delta.seq, delta.so_far);
            if piece.thinking {
                Event::RunThinking { run, seq, text, so_far }
            } else {
                Event::RunDelta { run, seq, index: delta.index, text, so_far }
            }
        });
        if let Some(envelope) = envelope {
            let _ = live.channel.send(envelope);
        }
    }

    /// Tells the other nodes of a piece of text.
    pub(super) fn tell_others(&self, live: &LiveRun, envelope: &Envelope) {
        if !self.cluster.has_peers() || live.key.kind() == SessionKind::Ephemeral {
            return;
        }
        let (thinking, seq, index, text, so_far) = match &envelope.event {
            Event::RunDelta { seq, index, text, so_far, .. } => (false, *seq, *index, text, so_far),
            Event::RunThinking { seq, text, so_far, .. } => (true, *seq, 0, text, so_far),
            _ => return,
        };
        self.cluster.outbox().text(RemoteText {
            run: live.reference.run_id.clone(),
            at: envelope.at,
            position: envelope.position,
            seq,
            index,
            thinking,
            start: so_far.len() - text.len(),
            message: so_far.message_start(),
            text: text.as_ref().to_owned(),
        });
    }

    /// Says all of a run's text again, for a node that lacks its beginning.
    fn repeat_text(&self, id: &RunId) {
        let Some(live) = self.live.get(id).filter(|live| live.is_here) else { return };
        for thinking in [true, false] {
            let Some((index, so_far)) = live.whole_text(thinking) else { continue };
            let (start, text) = (so_far.message_start(), so_far.with(str::to_owned));
            let piece = |from: usize, message: usize, text: &str| RemoteText {
                run: id.clone(),
                at: self.clock.now(),
                position: self.bus.newest(),
                seq: live.run().next_seq,
                index,
                thinking,
                start: from,
                message,
                text: text.to_owned(),
            };
            self.cluster.outbox().text(piece(0, 0, &text[..start]));
            self.cluster.outbox().text(piece(start, start, &text[start..]));
        }
    }

    /// Draws a picture of a run that another node has begun to drive. It is asked for its state, its text
    /// and its end alone, so what the event does not say stays empty: a read for each run of the cluster
    /// would keep this node from following the log.
    fn picture(&self, envelope: &Envelope) {
        let Event::RunAccepted { run: reference, message_id, origin, owner, .. } = &envelope.event else { return };
        let (id, key, message_id) = (reference.run_id.clone(), reference.session_key.clone(), message_id.clone());
        let run = Run {
            origin: origin.clone(),
            options: RunOptions { quiet: reference.quiet, ..RunOptions::default() },
            ..Run::pending(id, key, message_id, envelope.at, *owner)
        };
        let channel = self.channels.open(&run.id);
        self.live.insert(LiveRun::elsewhere(run, channel));
    }

    /// Pictures of all runs that other nodes drive, for a node that has just come.
    pub(super) async fn picture_all(&self) -> Result<(), OpError> {
        let me = self.cluster.me();
        let unfinished = self.store.read::<_, OpError, _>(|snapshot| Ok(snapshot.runs().unfinished()?)).await?;
        for run in unfinished {
            let is_strange = run.owner != me && run.session_key.kind() != SessionKind::Ephemeral;
            if is_strange && self.live.get(&run.id).is_none() {
                let channel = self.channels.open(&run.id);
                self.live.insert(LiveRun::elsewhere(run, channel));
            }
        }
        Ok(())
    }

    /// A run that another node has accepted for this one, whose session it has.
    async fn take_up_for_another(self: &Arc<Self>, id: &RunId, accepted: Cursor) -> Result<(), OpError> {
        let wanted = id.clone();
        let found = self.store.read::<_, OpError, _>(move |snapshot| {
            let run = snapshot.runs().get(&wanted)?.filter(|run| !run.state.is_over());
            Ok((run, snapshot.runs().inputs(&wanted)?))
        });
        let (Some(run), inputs) = found.await? else { return Ok(()) };
        let key = run.session_key.clone();
        self.take_up(run, inputs, accepted);
        let (runs, id) = (Arc::clone(self), id.clone());
        self.lifecycle.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(GO_LIMIT) => runs.release(&key, &id),
                () = runs.lifecycle.stopping().cancelled() => {}
            }
        });
        Ok(())
    }

    /// Takes over every run whose node is gone; gives how many.
    pub(crate) async fn take_up_orphans(self: &Arc<Self>) -> Result<usize, OpError> {
        if self.lifecycle.is_draining() {
            return Ok(0);
        }
        let is_any = self.store.read::<_, OpError, _>(|snapshot| Ok(!snapshot.runs().orphans()?.is_empty())).await?;
        if !is_any {
            return Ok(0);
        }
        let recovered = self.adopt().await?;
        let taken = recovered.resumed + recovered.requeued;
        metrics::counter!("patchbay_runs_taken_over_total").increment(taken as u64);
        Ok(recovered.resumed + recovered.requeued + recovered.ended)
    }
}

fn end_as(run: &mut Run, outcome: &RunOutcome) {
    match outcome {
        RunOutcome::Completed { reason } => (run.state, run.end_reason) = (RunState::Completed, Some(*reason)),
        RunOutcome::Cancelled { cause } => (run.state, run.stop_cause) = (RunState::Cancelled, Some(*cause)),
        RunOutcome::Failed { kind, message } => {
            run.state = RunState::Failed;
            run.error = Some(RunError { kind: model::ErrorKind::from_word(kind), message: message.clone() });
        }
    }
}

/// The event that tells of a takeover.
pub(super) fn taken_over(run: &Run, from: Fence, node: &str) -> Event {
    Event::RunTakenOver { run: reference(run), from, to: run.owner, node: node.to_owned() }
}
