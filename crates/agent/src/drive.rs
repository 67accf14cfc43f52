//! The loop of a turn: ask the model, run the tools it wants, until it has nothing more to ask for.

use std::mem;

use model::{EndReason, ErrorKind, NewMessage, RunError, ToolCall};
use providers::Router;

use crate::asked::Asked;
use crate::course::Course;
use crate::journal::{Journal, JournalError, Step};
use crate::transcript;
use crate::turn::{OpenCall, Turn, TurnEnd, TurnOutcome};

impl Turn {
    /// Runs the turn to its end. Its time limit is the caller's: cancel `context.cancel`.
    ///
    /// Every tool call of a written step is told to [`Journal::tool_ended`] before this returns,
    /// also when the turn is cancelled. Fails only when the journal does; then nothing more is done
    /// and the turn can be taken up again from what was written.
    pub async fn run(self, router: &Router, journal: &dyn Journal) -> Result<TurnOutcome, JournalError> {
        let mut course = Course::new(self, router, journal);
        let end = course.drive().await?;
        Ok(course.outcome(end))
    }
}

impl Course<'_> {
    async fn drive(&mut self) -> Result<TurnEnd, JournalError> {
        let open = mem::take(&mut self.turn.open_calls);
        self.run_calls(open).await?;
        let mut was_empty = false;
        loop {
            if self.is_cancelled() {
                return Ok(TurnEnd::Cancelled { partial: None });
            }
            let inputs = self.journal.take_inputs().await?;
            self.turn.history.extend(inputs);
            if let Some(error) = self.limit_reached() {
                return Ok(TurnEnd::Failed { error, partial: None });
            }
            let answer = match self.ask().await? {
                Asked::Answer(answer) => *answer,
                Asked::End(end) => return Ok(*end),
            };
            if !answer.message.tool_calls.is_empty() {
                if self.is_cancelled() {
                    return Ok(TurnEnd::Cancelled { partial: answer.into_partial() });
                }
                if let Some(error) = self.take_step(answer.message).await? {
                    return Ok(TurnEnd::Failed { error, partial: None });
                }
                continue;
            }
            let may_go_on = self.limit_reached().is_none();
            let is_empty = answer.message.content.is_empty() && answer.reason == EndReason::Stop;
            if is_empty && !was_empty && may_go_on {
                // Some models now and then end an answer before its first word.
                tracing::debug!("the model answered with nothing; asking once more");
                was_empty = true;
                continue;
            }
            if may_go_on && self.journal.has_inputs() {
                self.write_step(answer.message).await?;
                continue;
            }
            return Ok(TurnEnd::Completed { message: answer.message, reason: answer.reason });
        }
    }

    /// Writes an answer down and runs its tools. Gives the fault that ends the turn when the model
    /// goes round in a circle.
    async fn take_step(&mut self, message: NewMessage) -> Result<Option<RunError>, JournalError> {
        let calls = self.write_step(message).await?;
        let open = calls.into_iter().map(|call| OpenCall { call, was_started: false }).collect();
        let outcomes = self.run_calls(open).await?;
        if self.is_cancelled() {
            return Ok(None);
        }
        Ok(self.repetition.fault(&outcomes))
    }

    async fn write_step(&mut self, mut message: NewMessage) -> Result<Vec<ToolCall>, JournalError> {
        transcript::make_ids_unique(&mut message.tool_calls, &self.turn.history);
        let step = Step { message, iterations: self.turn.iterations, usage: self.turn.usage };
        self.journal.step(&step).await?;
        let calls = step.message.tool_calls.clone();
        self.turn.history.push(step.message);
        Ok(calls)
    }

    fn limit_reached(&self) -> Option<RunError> {
        let limits = self.turn.limits;
        let used = self.turn.usage.total();
        let message = if self.turn.iterations >= limits.iterations {
            format!("the run reached its limit of {} model calls", limits.iterations)
        } else if let Some(tokens) = limits.tokens
            && used >= tokens
        {
            format!("the run used {used} tokens and reached its limit of {tokens}")
        } else {
            return None;
        };
        Some(RunError { kind: ErrorKind::Conflict, message })
    }
}
