//! After a restart, here or of another node: every run that was accepted and not ended is taken up again.

use std::sync::Arc;

use model::{Cursor, OpError, Run, RunState, SessionKey, SessionKind, StopCause};
use store::PendingInput;

use super::Runs;
use super::live::LiveRun;
use super::remote::taken_over;

/// What a start found unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Begun before the restart, gone on with from their last written step.
    pub resumed: usize,
    /// Accepted before the restart, begun now.
    pub requeued: usize,
    /// Runs whose client was waiting on a connection that is gone.
    pub ended: usize,
}

impl Runs {
    /// Takes up what is unfinished and no node drives, in the order in which it was accepted. Call
    /// once, before the first listener accepts.
    pub async fn recover(self: &Arc<Self>) -> Result<Recovered, OpError> {
        let recovered = self.adopt().await?;
        self.picture_all().await?;
        self.drop_ephemeral().await?;
        Ok(recovered)
    }

    /// Makes this node the driver of every run whose driver is gone, and goes on with them.
    pub(super) async fn adopt(self: &Arc<Self>) -> Result<Recovered, OpError> {
        let order = self.taking_over.write().await;
        let (me, node, now) = (self.cluster.me(), self.cluster.name().to_owned(), self.clock.now());
        let found = self
            .store
            .write::<_, OpError, _>(move |tx| {
                let orphans = tx.runs().orphans()?;
                tx.runs_mut().adopt(me)?;
                let mut found = Vec::with_capacity(orphans.len());
                for run in orphans {
                    let from = run.owner;
                    let run = Run { owner: me, ..run };
                    if run.session_key.kind() != SessionKind::Ephemeral {
                        tx.events_mut().append(now, &taken_over(&run, from, &node))?;
                    }
                    let inputs = tx.runs().inputs(&run.id)?;
                    found.push((run, inputs));
                }
                Ok(found)
            })
            .await?;
        let mut recovered = Recovered::default();
        let mut sessions: Vec<SessionKey> = Vec::new();
        for (run, inputs) in found {
            let (id, key, state) = (run.id.clone(), run.session_key.clone(), run.state);
            if key.kind() == SessionKind::Ephemeral {
                // Its answer was for a connection that no longer exists.
                let live = LiveRun::new(run, self.channels.open(&id), inputs);
                self.live.insert(Arc::clone(&live));
                live.stop(StopCause::ClientGone);
                self.finish_unstarted(&live, StopCause::ClientGone).await?;
                recovered.ended += 1;
                continue;
            }
            match state {
                RunState::Running => recovered.resumed += 1,
                _ => recovered.requeued += 1,
            }
            // Behind one another as they were accepted, and before what was accepted since.
            self.take_up(run, inputs, Cursor(0));
            self.mailboxes.release(&key, &id);
            if !sessions.contains(&key) {
                sessions.push(key);
            }
        }
        drop(order);
        for key in sessions {
            self.pump(&key);
        }
        Ok(recovered)
    }

    /// Puts a stored run into its session's queue, by where it was accepted.
    pub(super) fn take_up(&self, run: Run, inputs: Vec<PendingInput>, accepted: Cursor) {
        let (id, key, stop_cause) = (run.id.clone(), run.session_key.clone(), run.stop_cause);
        let live = LiveRun::new(run, self.channels.open(&id), inputs);
        self.live.insert(Arc::clone(&live));
        if let Some(cause) = stop_cause {
            // Somebody was told that it is cancelled.
            live.stop(cause);
        }
        self.mailboxes.enqueue(&key, &id, usize::MAX);
        self.mailboxes.written(&key, &id, accepted);
    }

    /// Sessions that should have gone with their run.
    async fn drop_ephemeral(&self) -> Result<(), OpError> {
        self.store
            .write::<_, OpError, _>(|tx| {
                for key in tx.sessions().ephemeral()? {
                    if tx.nodes().owner_of(&key)?.is_none() {
                        tx.sessions_mut().delete(&key)?;
                    }
                }
                Ok(())
            })
            .await
    }
}
