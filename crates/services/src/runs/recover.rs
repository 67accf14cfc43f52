//! After a restart: every run that was accepted and not ended is taken up again.

use std::sync::Arc;

use model::{OpError, RunState, SessionKey, SessionKind, StopCause};

use super::Runs;
use super::live::LiveRun;

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
    /// Takes up what is unfinished, in the order in which it was accepted. Call once, before the
    /// first listener accepts.
    pub async fn recover(self: &Arc<Self>) -> Result<Recovered, OpError> {
        let found = self
            .store
            .read::<_, OpError, _>(|snapshot| {
                let mut found = Vec::new();
                for run in snapshot.runs().unfinished()? {
                    let inputs = snapshot.runs().inputs(&run.id)?;
                    found.push((run, inputs));
                }
                Ok(found)
            })
            .await?;
        let mut recovered = Recovered::default();
        let mut sessions: Vec<SessionKey> = Vec::new();
        for (run, inputs) in found {
            let (id, key, state) = (run.id.clone(), run.session_key.clone(), run.state);
            let stop_cause = run.stop_cause;
            let live = LiveRun::new(run, self.channels.open(&id), inputs);
            self.live.insert(Arc::clone(&live));
            if let Some(cause) = stop_cause {
                // Somebody was told that it is cancelled.
                live.stop(cause);
            }
            if key.kind() == SessionKind::Ephemeral {
                // Its answer was for a connection that no longer exists.
                live.stop(StopCause::ClientGone);
                self.finish_unstarted(&live, StopCause::ClientGone).await?;
                recovered.ended += 1;
                continue;
            }
            match state {
                RunState::Running => recovered.resumed += 1,
                _ => recovered.requeued += 1,
            }
            self.mailboxes.enqueue(&key, &id, usize::MAX);
            self.mailboxes.release(&key, &id);
            if !sessions.contains(&key) {
                sessions.push(key);
            }
        }
        for key in sessions {
            self.pump(&key);
        }
        self.drop_ephemeral().await?;
        Ok(recovered)
    }

    /// Sessions that should have gone with their run.
    async fn drop_ephemeral(&self) -> Result<(), OpError> {
        self.store
            .write::<_, OpError, _>(|tx| {
                for key in tx.sessions().ephemeral()? {
                    tx.sessions_mut().delete(&key)?;
                }
                Ok(())
            })
            .await
    }
}
