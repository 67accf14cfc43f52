//! Letters: what one session says to another, and how the two go on.
//!
//! Every letter is an ordinary message with an ordinary run of the session that gets it; the run's
//! model is told who wrote. Whoever waits and goes away stops nothing.

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, ErrorKind, OpError, Principal, RunId, RunOptions, RunState, SessionKey, Usage};
use tokio::time::Instant;

use crate::runs::{NewRun, Runs};

pub struct Letters {
    clock: Arc<dyn Clock>,
    runs: Arc<Runs>,
}

#[derive(Debug, Clone)]
pub struct Letter {
    pub from: SessionKey,
    pub to: SessionKey,
    pub text: String,
    pub reply: Reply,
    pub origin: &'static str,
}

/// What the sender waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Nothing,
    /// The answer, at most so long.
    Answer(Duration),
    /// Each answer is sent to the other side as a letter, until so many turns are over, an answer is
    /// empty, or the time is up.
    Exchange {
        turns_max: u32,
        limit: Duration,
    },
}

/// What came of a letter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Delivered {
    /// The last answer; absent when the time was up before the first one. Its turn goes on then.
    pub response: Option<String>,
    /// Turns that were waited for to their end.
    pub turns: u32,
    pub usage: Usage,
    pub runtime_ms: u64,
}

impl Letters {
    pub(crate) fn new(clock: Arc<dyn Clock>, runs: Arc<Runs>) -> Self {
        Self { clock, runs }
    }

    /// Sends a letter; it is on disk when this returns.
    ///
    /// Errors: those of [`Runs::accept`]; `Conflict` when the first turn failed or was cancelled.
    pub async fn send(&self, principal: &Principal, letter: Letter) -> Result<Delivered, OpError> {
        let Letter { mut from, mut to, mut text, reply, origin } = letter;
        let (turns_max, limit) = match reply {
            Reply::Nothing => (0, Duration::ZERO),
            Reply::Answer(limit) => (1, limit),
            Reply::Exchange { turns_max, limit } => (turns_max, limit),
        };
        let (began, deadline) = (self.clock.now(), Instant::now() + limit);
        let mut delivered = Delivered::default();
        loop {
            let id = match self.post(principal, &from, &to, text, origin).await {
                Ok(id) => id,
                // What was said until now stands.
                Err(error) if delivered.turns > 0 => {
                    tracing::info!(%error, "an exchange between sessions ended early");
                    break;
                }
                Err(error) => return Err(error),
            };
            if delivered.turns >= turns_max {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(run) = self.runs.wait(&id, left).await? else { break };
            delivered.usage = delivered.usage.plus(run.usage);
            if run.state != RunState::Completed {
                if delivered.turns > 0 {
                    break;
                }
                let reason = run.error.map_or_else(|| String::from("it was cancelled"), |error| error.message);
                return Err(OpError::new(ErrorKind::Conflict, format!("the turn of session `{to}` failed: {reason}")));
            }
            delivered.turns += 1;
            let response = run.response.unwrap_or_default();
            delivered.response = Some(response.clone());
            if delivered.turns >= turns_max || response.trim().is_empty() {
                break;
            }
            std::mem::swap(&mut from, &mut to);
            text = response;
        }
        delivered.runtime_ms = self.clock.now().ms_since(began);
        Ok(delivered)
    }

    async fn post(
        &self,
        principal: &Principal,
        from: &SessionKey,
        to: &SessionKey,
        text: String,
        origin: &'static str,
    ) -> Result<RunId, OpError> {
        let note = format!(
            "The newest message was written by the agent `{}` in its session `{from}`, not by a user.",
            from.agent()
        );
        let options = RunOptions { extra_system: Some(note), ..RunOptions::default() };
        let accepted = self.runs.accept(principal, NewRun { options, ..NewRun::new(to.clone(), text, origin) }).await?;
        let id = accepted.run.id.clone();
        drop(accepted.start);
        Ok(id)
    }
}
