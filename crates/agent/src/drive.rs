//! The loop of a turn: ask the model, run the tools it wants, until it has nothing more to ask for or
//! wants what only the client can run.

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
        if let Some(end) = self.take_up().await? {
            return Ok(end);
        }
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
                match self.take_step(answer.message, answer.reason).await? {
                    Some(end) => return Ok(end),
                    None => continue,
                }
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

    /// Ends what a restart left open of the last step.
    async fn take_up(&mut self) -> Result<Option<TurnEnd>, JournalError> {
        let open = mem::take(&mut self.turn.open_calls);
        let (clients, own): (Vec<OpenCall>, Vec<OpenCall>) =
            open.into_iter().partition(|open| self.toolbox.is_clients(&open.call.name));
        self.run_calls(own).await?;
        if clients.is_empty() || self.is_cancelled() {
            return Ok(None);
        }
        let asked = self.turn.history.iter().rfind(|message| !message.tool_calls.is_empty());
        let text = asked.map(|message| message.content.text().into_owned()).unwrap_or_default();
        let calls = clients.into_iter().map(|open| open.call).collect();
        Ok(Some(TurnEnd::HandedBack { text, calls, reason: EndReason::ToolCalls }))
    }

    /// Writes an answer down and runs the agent's own tools. Gives the end of the turn when the
    /// client has calls to run, or when the model goes round in a circle.
    ///
    /// An answer may ask for both: the own ones are run first, so that the conversation lacks
    /// nothing but the client's results when it is gone on with.
    async fn take_step(&mut self, message: NewMessage, reason: EndReason) -> Result<Option<TurnEnd>, JournalError> {
        let text = message.content.text().into_owned();
        let calls = self.write_step(message).await?;
        let (clients, own): (Vec<ToolCall>, Vec<ToolCall>) =
            calls.into_iter().partition(|call| self.toolbox.is_clients(&call.name));
        let open = own.into_iter().map(|call| OpenCall { call, was_started: false }).collect();
        let outcomes = self.run_calls(open).await?;
        if self.is_cancelled() {
            return Ok(None);
        }
        if !clients.is_empty() {
            let reason = if reason == EndReason::Length { reason } else { EndReason::ToolCalls };
            return Ok(Some(TurnEnd::HandedBack { text, calls: clients, reason }));
        }
        Ok(self.repetition.fault(&outcomes).map(|error| TurnEnd::Failed { error, partial: None }))
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
