//! One turn as a caller waits for it: accepted, followed, ended.
//!
//! The turn belongs to the gateway: dropping a [`Turn`] stops nothing.

use std::sync::Arc;

use model::{EndReason, Event, OpError, Principal, Run, RunId, RunLimits, RunOutcome, RunState, TextSoFar, Usage};
use schemars::JsonSchema;
use serde::Serialize;
use services::Services;
use services::runs::{FollowItem, NewRun, RunFollower};
use tokio_util::sync::CancellationToken;

/// Tokens of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct TokensUsed {
    pub input: u64,
    pub output: u64,
    pub total: u64,
}

impl From<Usage> for TokensUsed {
    fn from(usage: Usage) -> Self {
        Self { input: usage.input, output: usage.output, total: usage.total() }
    }
}

/// What a turn came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    pub response: String,
    /// What the model thought, as far as it tells; empty when the events of the turn were missed.
    pub reasoning: String,
    pub tokens: TokensUsed,
    /// The published word, or why the turn failed in words fit for its user.
    pub finish: Result<&'static str, String>,
}

/// What a follower of a turn gets.
pub(crate) enum Moment {
    /// The whole text of the turn so far has grown.
    Grown(Growth),
    Ended(Ended),
}

pub(crate) struct Growth {
    pub delta: String,
    pub accumulated: String,
}

pub(crate) struct Turn {
    services: Arc<Services>,
    id: RunId,
    follower: Option<RunFollower>,
    stopping: CancellationToken,
    limits: RunLimits,
    /// Bytes of the text that were handed out.
    seen: usize,
    reasoning: Option<TextSoFar>,
}

impl Turn {
    /// Writes the message down and starts its turn.
    pub(crate) async fn start(services: &Arc<Services>, principal: &Principal, new: NewRun) -> Result<Self, OpError> {
        let accepted = services.runs.accept(principal, new).await?;
        let id = accepted.run.id.clone();
        // Followed before it starts, so that nothing of it is missed.
        let follower = services.runs.follow(&id);
        if let Some(start) = accepted.start {
            start.start();
        }
        Ok(Self {
            services: Arc::clone(services),
            id,
            follower,
            stopping: services.lifecycle.stopping().clone(),
            limits: accepted.run.options.limits,
            seen: 0,
            reasoning: None,
        })
    }

    pub(crate) const fn id(&self) -> &RunId {
        &self.id
    }

    /// The next thing to tell; not to be called again after `Ended`. Cancel safe.
    pub(crate) async fn next(&mut self) -> Moment {
        loop {
            let Some(follower) = &mut self.follower else { return Moment::Ended(self.stored().await) };
            let item = tokio::select! {
                biased;
                item = follower.next() => item,
                () = self.stopping.cancelled() => FollowItem::Over,
            };
            match item {
                FollowItem::Event(envelope) => {
                    if let Some(moment) = self.moment(&envelope.event) {
                        return moment;
                    }
                }
                // The next delta carries the whole text.
                FollowItem::Missed(_) => {}
                FollowItem::Over => self.follower = None,
            }
        }
    }

    pub(crate) async fn finish(mut self) -> Ended {
        loop {
            if let Moment::Ended(ended) = self.next().await {
                return ended;
            }
        }
    }

    fn moment(&mut self, event: &Event) -> Option<Moment> {
        match event {
            Event::RunThinking { so_far, .. } => {
                self.reasoning = Some(so_far.clone());
                None
            }
            Event::RunDelta { so_far, .. } if so_far.len() > self.seen => {
                let from = std::mem::replace(&mut self.seen, so_far.len());
                let growth = so_far.with(|text| Growth {
                    delta: text.get(from..).unwrap_or_default().to_owned(),
                    accumulated: text.to_owned(),
                });
                Some(Moment::Grown(growth))
            }
            Event::RunEnded { outcome, response, usage, iterations, .. } => {
                let finish = match outcome {
                    RunOutcome::Completed { reason } => Ok(finish_reason(*reason)),
                    RunOutcome::Cancelled { .. } => Ok("error"),
                    RunOutcome::Failed { kind, message } => self.failure(kind, message, *usage, *iterations),
                };
                let reasoning = self.reasoning.take().map(|text| text.with(str::to_owned)).unwrap_or_default();
                Some(Moment::Ended(Ended { response: response.clone(), reasoning, tokens: (*usage).into(), finish }))
            }
            _ => None,
        }
    }

    fn failure(&self, kind: &str, message: &str, usage: Usage, iterations: u32) -> Result<&'static str, String> {
        let bounds = Bounds::of(&self.services, self.limits);
        bounds.failure(kind, message, usage, iterations)
    }

    /// The end of a turn whose events were missed.
    async fn stored(&self) -> Ended {
        match self.services.runs.get(&self.id).await {
            Ok(Some(run)) if run.state.is_over() => self.ended(run),
            Ok(_) => Ended::failed("the gateway is stopping; the turn goes on after its next start"),
            Err(error) => Ended::failed(error.message),
        }
    }

    fn ended(&self, run: Run) -> Ended {
        let finish = finish_of(&self.services, &run);
        Ended { response: run.response.unwrap_or_default(), reasoning: String::new(), tokens: run.usage.into(), finish }
    }
}

/// The published word for the end of a run that is over, or why it failed.
pub(crate) fn finish_of(services: &Services, run: &Run) -> Result<&'static str, String> {
    match (run.state, &run.error) {
        (RunState::Completed, _) => Ok(run.end_reason.map_or("stop", finish_reason)),
        (RunState::Failed, Some(error)) => {
            let bounds = Bounds::of(services, run.options.limits);
            bounds.failure(error.kind.word(), &error.message, run.usage, run.iterations)
        }
        (RunState::Failed, None) => Err(String::from("the turn failed")),
        _ => Ok("error"),
    }
}

/// What a turn may use.
struct Bounds {
    iterations: u32,
    /// 0 = no bound.
    tokens: u64,
}

impl Bounds {
    fn of(services: &Services, own: RunLimits) -> Self {
        let limits = services.runs.limits();
        Self {
            iterations: own.iterations.unwrap_or(limits.max_iterations),
            tokens: own.tokens.unwrap_or(limits.run_tokens),
        }
    }

    /// Limits of a turn are no failures: what it said until then is its answer.
    fn failure(&self, kind: &str, message: &str, usage: Usage, iterations: u32) -> Result<&'static str, String> {
        let is_limit = kind == model::ErrorKind::Conflict.word();
        if is_limit && iterations >= self.iterations {
            return Ok("max_steps");
        }
        if is_limit && self.tokens > 0 && usage.total() >= self.tokens {
            return Ok("budget_exceeded");
        }
        Err(message.to_owned())
    }
}

impl Ended {
    fn failed(words: impl Into<String>) -> Self {
        Self {
            response: String::new(),
            reasoning: String::new(),
            tokens: TokensUsed::default(),
            finish: Err(words.into()),
        }
    }
}

const fn finish_reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Stop | EndReason::Length | EndReason::ToolCalls | EndReason::ContentFilter => "stop",
        EndReason::Command => "command",
    }
}
