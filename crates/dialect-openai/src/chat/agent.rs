//! Turns of agents: each in a session of its own that is gone with its answer.

use std::collections::VecDeque;
use std::sync::Arc;

use dialect::http::Caller;
use futures_util::StreamExt;
use model::{
    Agent, ClientTool, ClientTools, EndReason, ErrorKind, Event, NewMessage, OpError, Role, Run, RunId, RunLimits,
    RunOptions, RunOutcome, RunState, SessionKey, StopCause, TextSoFar, ToolCall, Usage,
};
use providers::ToolSpec;
use services::Services;
use services::runs::{FollowItem, NewRun, RunFollower, StartGuard};

use super::head::Head;
use super::pieces::{Ended, Piece, Pieces};
use super::request::Request;
use crate::ORIGIN;
use crate::check::Issues;
use crate::errors::ApiError;

/// An accepted turn. It starts when its first piece is asked for; dropping it cancels the turn.
pub(crate) struct AgentTurn {
    services: Arc<Services>,
    id: RunId,
    follower: Option<RunFollower>,
    start: Option<StartGuard>,
    /// The text as of the last delta.
    text: TextSoFar,
    /// Bytes of it that were handed out.
    seen: usize,
    /// Bytes of reasoning that were handed out.
    seen_reasoning: usize,
    queue: VecDeque<Piece>,
    is_over: bool,
}

impl AgentTurn {
    /// Writes the turn down. Everything that can be refused is refused here, before it starts.
    pub async fn start(
        services: &Arc<Services>,
        caller: &Caller,
        agent: &Agent,
        request: &Request,
        head: &Head,
        index: u32,
    ) -> Result<Self, ApiError> {
        let conversation = Conversation::of(request)?;
        let part = if index == 0 { String::new() } else { format!("-{index}") };
        let session = SessionKey::of_agent(&agent.id, &format!("ephemeral:{}{part}", head.id));
        let session = session.map_err(|error| OpError::internal(error.to_string()))?;
        let options = RunOptions {
            thinking: request.thinking,
            limits: RunLimits { output_tokens: request.sampling.max_output_tokens, ..RunLimits::default() },
            extra_system: conversation.system,
            temperature: request.sampling.temperature,
            client_tools: client_tools(request),
            ..RunOptions::default()
        };
        let run = NewRun {
            prelude: conversation.prelude,
            answers_call: conversation.input.tool_call_id,
            options,
            ..NewRun::new(session, conversation.input.content, ORIGIN)
        };
        let accepted = services.runs.accept(&caller.principal, run).await.map_err(|error| refused(error, request))?;
        let id = accepted.run.id;
        Ok(Self {
            // Followed before it starts, so that nothing of it is missed.
            follower: services.runs.follow(&id),
            services: Arc::clone(services),
            id,
            start: accepted.start,
            text: TextSoFar::new(),
            seen: 0,
            seen_reasoning: 0,
            queue: VecDeque::new(),
            is_over: false,
        })
    }

    pub fn pieces(mut self) -> Pieces {
        async_stream::stream! {
            while let Some(piece) = self.next().await {
                yield piece;
            }
        }
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Piece, ApiError>> {
        loop {
            if let Some(piece) = self.queue.pop_front() {
                return Some(Ok(piece));
            }
            if self.is_over {
                return None;
            }
            if let Some(start) = self.start.take() {
                start.start();
            }
            let result = match self.item().await {
                FollowItem::Event(envelope) => self.event(&envelope.event),
                // The next delta carries the whole text.
                FollowItem::Missed(_) => Ok(()),
                FollowItem::Over => self.stored().await,
            };
            if let Err(error) = result {
                self.is_over = true;
                return Some(Err(error));
            }
        }
    }

    async fn item(&mut self) -> FollowItem {
        let stopping = self.services.lifecycle.stopping();
        let Some(follower) = &mut self.follower else { return FollowItem::Over };
        tokio::select! {
            biased;
            item = follower.next() => item,
            () = stopping.cancelled() => FollowItem::Over,
        }
    }

    fn event(&mut self, event: &Event) -> Result<(), ApiError> {
        match event {
            Event::RunDelta { so_far, .. } => self.grow(so_far),
            Event::RunThinking { so_far, .. } => self.grow_reasoning(so_far),
            Event::InputRequested { prompt, options, .. } => self.question(prompt, options),
            Event::RunEnded { outcome, response, usage, iterations, client_calls, .. } => {
                // Deltas that were missed are in the text all the same.
                let newest = self.text.newest();
                self.grow(&newest);
                if self.seen == 0 && !response.is_empty() {
                    self.queue.push_back(Piece::Text(response.clone()));
                }
                let finish = self.finish(outcome, *usage, *iterations)?;
                self.hand_back(client_calls);
                self.end(finish, *usage, response.clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// Hands out what is new, with an empty line between two messages of the turn.
    fn grow(&mut self, so_far: &TextSoFar) {
        let (from, start) = (self.seen, so_far.message_start());
        if so_far.len() > from {
            let more = so_far.with(|text| {
                let rest = text.get(from..).unwrap_or_default();
                match start.checked_sub(from).and_then(|at| rest.split_at_checked(at)) {
                    Some((old, new)) if start > 0 && !new.is_empty() => format!("{old}\n\n{new}"),
                    _ => rest.to_owned(),
                }
            });
            self.seen = so_far.len();
            self.queue.push_back(Piece::Text(more));
        }
        self.text = so_far.clone();
    }

    fn grow_reasoning(&mut self, so_far: &TextSoFar) {
        let from = self.seen_reasoning;
        if so_far.len() > from {
            self.seen_reasoning = so_far.len();
            let more = so_far.with(|text| text.get(from..).unwrap_or_default().to_owned());
            self.queue.push_back(Piece::Reasoning(more));
        }
    }

    /// Nobody can answer within this request: the question is the answer, and the next request
    /// brings the reply.
    fn question(&mut self, prompt: &str, options: &[String]) {
        let mut text = prompt.to_owned();
        options.iter().for_each(|option| text.push_str(&format!("\n- {option}")));
        let separator = if self.seen > 0 { "\n\n" } else { "" };
        self.queue.push_back(Piece::Text(format!("{separator}{text}")));
        let usage = self.services.runs.live(&self.id).map(|live| live.run.usage).unwrap_or_default();
        self.queue.push_back(Piece::End(Ended { finish: "stop", usage, text: Some(text) }));
        self.cancel(StopCause::ClientGone);
        self.is_over = true;
    }

    /// They come whole: an answer that asks for more than them is told only when the rest is done.
    fn hand_back(&mut self, calls: &[ToolCall]) {
        for (index, call) in calls.iter().enumerate() {
            let ToolCall { id, name, arguments } = call.clone();
            self.queue.push_back(Piece::Call { index, id, name });
            self.queue.push_back(Piece::Arguments { index, text: arguments });
        }
    }

    fn end(&mut self, finish: &'static str, usage: Usage, response: String) {
        self.queue.push_back(Piece::End(Ended { finish, usage, text: Some(response) }));
        self.is_over = true;
    }

    fn finish(&self, outcome: &RunOutcome, usage: Usage, iterations: u32) -> Result<&'static str, ApiError> {
        match outcome {
            RunOutcome::Completed { reason } => Ok(match reason {
                EndReason::Stop | EndReason::Command => "stop",
                EndReason::ToolCalls => "tool_calls",
                EndReason::Length => "length",
                EndReason::ContentFilter => "content_filter",
            }),
            RunOutcome::Cancelled { .. } => Ok("stop"),
            RunOutcome::Failed { kind, message } => {
                // Limits of a turn are no failures: what it said until then is its answer.
                let limits = self.services.runs.limits();
                let kind = ErrorKind::from_word(kind);
                let is_limit = kind == ErrorKind::Conflict;
                if is_limit && iterations >= limits.max_iterations {
                    Ok("length")
                } else if is_limit && limits.run_tokens > 0 && usage.total() >= limits.run_tokens {
                    Ok("stop")
                } else {
                    Err(OpError::new(kind, message.clone()).into())
                }
            }
        }
    }

    /// The end of a turn whose last event was missed.
    async fn stored(&mut self) -> Result<(), ApiError> {
        let run = self.services.runs.get(&self.id).await?.filter(|run| run.state.is_over());
        let Some(run) = run else {
            return Err(OpError::unavailable("the gateway is stopping; try again shortly").into());
        };
        let newest = self.text.newest();
        self.grow(&newest);
        if run.end_reason == Some(EndReason::ToolCalls) {
            // Only its last event tells the calls, and a finish without them would promise what is not there.
            return Err(OpError::unavailable("the calls of the answer were missed; try again").into());
        }
        let finish = self.finish(&outcome(&run), run.usage, run.iterations)?;
        self.end(finish, run.usage, run.response.unwrap_or_default());
        Ok(())
    }

    /// On a task of its own: the caller is about to go.
    fn cancel(&mut self, cause: StopCause) {
        let (services, id, start) = (Arc::clone(&self.services), self.id.clone(), self.start.take());
        if services.lifecycle.stopping().is_cancelled() {
            return;
        }
        self.services.lifecycle.spawn(async move {
            if let Err(error) = services.runs.cancel(&id, cause).await {
                tracing::debug!(%error, run_id = %id, "an answer that nobody waits for could not be stopped");
            }
            // Only now, so that a turn that has not started never does.
            drop(start);
        });
    }
}

impl Drop for AgentTurn {
    fn drop(&mut self) {
        if !self.is_over {
            self.cancel(StopCause::ClientGone);
        }
    }
}

fn outcome(run: &Run) -> RunOutcome {
    match (run.state, &run.error) {
        (RunState::Completed, _) => RunOutcome::Completed { reason: run.end_reason.unwrap_or(EndReason::Stop) },
        (RunState::Failed, Some(error)) => {
            RunOutcome::Failed { kind: error.kind.word().to_owned(), message: error.message.clone() }
        }
        (RunState::Failed, None) => {
            RunOutcome::Failed { kind: ErrorKind::Internal.word().to_owned(), message: String::new() }
        }
        _ => RunOutcome::Cancelled { cause: run.stop_cause.unwrap_or(StopCause::User) },
    }
}

/// The tools that the client runs; `None` without any.
fn client_tools(request: &Request) -> Option<ClientTools> {
    let tool = |spec: &ToolSpec| ClientTool {
        name: spec.name.clone(),
        description: spec.description.clone(),
        parameters: (*spec.parameters).clone(),
    };
    (!request.tools.is_empty()).then(|| ClientTools {
        tools: request.tools.iter().map(tool).collect(),
        choice: request.tool_choice.clone(),
        // The form before tools has a place for one call.
        parallel: if request.names_functions { Some(false) } else { request.parallel_tool_calls },
    })
}

/// A refusal in the words of the request.
fn refused(error: OpError, request: &Request) -> ApiError {
    if error.kind == ErrorKind::InvalidParams && error.field.as_deref() == Some("tools") {
        let param = if request.names_functions { "functions" } else { "tools" };
        return ApiError::bad_request(format!("Invalid request: {}", error.message)).with_param(param);
    }
    error.into()
}

/// A request's messages as an agent takes them.
#[derive(Debug, PartialEq)]
struct Conversation {
    system: Option<String>,
    /// Everything before the input, in order.
    prelude: Vec<NewMessage>,
    /// What the turn answers: a user's message, or the result of a client's tool.
    input: NewMessage,
}

impl Conversation {
    fn of(request: &Request) -> Result<Self, ApiError> {
        let no_input = || ApiError::bad_request("No user message found in messages array");
        check_results(&request.messages)?;
        let is_asking = |message: &NewMessage| matches!(message.role, Role::User | Role::Tool);
        let last = request.messages.iter().rposition(is_asking).ok_or_else(no_input)?;
        let input = request.messages[last].clone();
        if input.role == Role::User && input.content.is_empty() {
            return Err(no_input());
        }
        let is_system = |message: &&NewMessage| message.role == Role::System;
        let texts = request.messages.iter().filter(is_system).map(|message| message.content.text().into_owned());
        let texts: Vec<String> = texts.chain(request.format.iter().map(|format| format.words())).collect();
        let prelude = request.messages[..last].iter().filter(|message| message.role != Role::System).cloned();
        Ok(Self { system: (!texts.is_empty()).then(|| texts.join("\n")), prelude: prelude.collect(), input })
    }
}

/// A result must belong to a call: the model would never see it otherwise.
fn check_results(messages: &[NewMessage]) -> Result<(), ApiError> {
    let mut issues = Issues::default();
    for (index, message) in messages.iter().enumerate().filter(|(_, message)| message.role == Role::Tool) {
        let id = message.tool_call_id.as_deref().unwrap_or_default();
        let mut calls = messages[..index].iter().flat_map(|earlier| &earlier.tool_calls);
        if !calls.any(|call| call.id == id) {
            issues
                .add(format!("messages.{index}.tool_call_id"), format!("no earlier message asks for the call {id:?}"));
        }
    }
    issues.result()
}
