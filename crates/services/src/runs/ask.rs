//! A tool's question to the person behind a run.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use model::{AwaitingInput, Event, OpError, RunId};
use tools::{AskUser, ToolError};

use super::Runs;
use super::live::LiveRun;
use super::persist::foreseen;

/// Asks through the run engine. Holds it weakly: the engine owns the tools' context.
pub(crate) struct AskThroughRun(pub Weak<Runs>);

#[async_trait]
impl AskUser for AskThroughRun {
    async fn ask(&self, run: &RunId, prompt: &str, options: &[String]) -> Result<String, ToolError> {
        let runs = self.0.upgrade().ok_or(ToolError::Cancelled)?;
        let live = runs.live.get(run).ok_or(ToolError::Cancelled)?;
        live.set_asking(true);
        let answer = runs.wait_for_answer(&live, prompt, options).await;
        live.set_asking(false);
        answer
    }
}

impl Runs {
    async fn wait_for_answer(
        &self,
        live: &Arc<LiveRun>,
        prompt: &str,
        options: &[String],
    ) -> Result<String, ToolError> {
        // After a restart the answer may be there already: it is kept until its tool call has ended.
        if live.first_input().is_none() {
            self.announce_question(live, prompt, options)
                .await
                .map_err(|error| ToolError::Failed(format!("the question could not be asked: {error}")))?;
        }
        loop {
            if let Some(input) = live.first_input() {
                live.update(|run| run.awaiting = None);
                return Ok(input.text);
            }
            tokio::select! {
                biased;
                () = live.cancel.cancelled() => return Err(ToolError::Cancelled),
                () = self.lifecycle.stopping().cancelled() => return Err(ToolError::Cancelled),
                () = live.input_arrived() => {}
            }
        }
    }

    async fn announce_question(&self, live: &Arc<LiveRun>, prompt: &str, options: &[String]) -> Result<(), OpError> {
        let awaiting =
            AwaitingInput { input_id: self.ids.input(), prompt: prompt.to_owned(), options: options.to_vec() };
        let run = live.update(|run| run.awaiting = Some(awaiting.clone()));
        let (now, reference) = (self.clock.now(), live.reference.clone());
        self.persist(foreseen(&run), move |tx| {
            tx.runs_mut().update_unfinished(&run)?;
            let AwaitingInput { input_id, prompt, options } = awaiting.clone();
            let run = reference.clone();
            tx.events_mut().append(now, &Event::InputRequested { run, input_id, prompt, options })?;
            Ok(())
        })
        .await
    }
}
