//! Opens an answer at the first of several models that gives one: retries, fallbacks, cooldown.
//!
//! All of this ends with the first chunk. Once something of an answer was handed out, a failure
//! belongs to the caller, who alone knows whether it can be told again.

mod backoff;
mod cooldown;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use model::{Clock, ModelRef};
use tokio_util::sync::CancellationToken;

use crate::chat::{ChatRequest, ChatStream};
use crate::error::{ProviderError, ProviderErrorKind};
use crate::registry::Registry;

use backoff::Backoff;
use cooldown::Cooldowns;
pub use policy::RetryPolicy;

/// An answer that has begun.
pub struct Opened {
    /// The candidate that answers.
    pub model: ModelRef,
    pub stream: ChatStream,
}

/// See the [module](self).
pub struct Router {
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    policy: RetryPolicy,
    backoff: Backoff,
    cooldowns: Cooldowns,
}

/// What a failed candidate means for the others.
enum Failure {
    /// The request is at fault, or was cancelled: nobody else is asked.
    Final(ProviderError),
    /// The next candidate may do better.
    Here(ProviderError),
}

impl Router {
    /// `seed` is for the jitter of waits; the same seed gives the same waits.
    pub fn new(registry: Arc<Registry>, clock: Arc<dyn Clock>, policy: RetryPolicy, seed: u64) -> Self {
        Self { registry, clock, policy, backoff: Backoff::new(seed), cooldowns: Cooldowns::default() }
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The models in cooldown and how long each stays there.
    pub fn cooling(&self) -> Vec<(ModelRef, Duration)> {
        self.cooldowns.list(self.clock.now())
    }

    /// Opens an answer at the first candidate that gives a first chunk.
    ///
    /// Candidates are asked in order; those in cooldown only after all others, and once.
    /// `make_request` is called anew for each attempt. Errors: `BadRequest` and `ContextTooLong` at
    /// once; otherwise, when nobody answers, that of the candidate that stands first. A cancelled
    /// token interrupts every wait and gives an error of kind `Cut`; ask the token to tell it apart.
    pub async fn open(
        &self,
        candidates: &[ModelRef],
        make_request: impl Fn(&ModelRef) -> ChatRequest,
        cancel: &CancellationToken,
    ) -> Result<Opened, ProviderError> {
        let opening = self.open_any(candidates, make_request);
        match cancel.run_until_cancelled(opening).await {
            Some(result) => result,
            None => Err(cancelled(candidates)),
        }
    }

    async fn open_any(
        &self,
        candidates: &[ModelRef],
        make_request: impl Fn(&ModelRef) -> ChatRequest,
    ) -> Result<Opened, ProviderError> {
        self.cooldowns.start_generation(self.registry.generation());
        let now = self.clock.now();
        let (cooling, healthy): (Vec<usize>, Vec<usize>) =
            (0..candidates.len()).partition(|&index| self.cooldowns.holds(&candidates[index], now));
        let attempts_of_healthy = healthy.iter().map(|&index| (index, self.policy.attempts_max));
        let attempts_of_cooling = cooling.iter().map(|&index| (index, 1));
        let mut first_failure: Option<(usize, ProviderError)> = None;
        for (index, attempts) in attempts_of_healthy.chain(attempts_of_cooling) {
            let model = &candidates[index];
            match self.open_one(model, &make_request, attempts.max(1)).await {
                Ok(stream) => return Ok(Opened { model: model.clone(), stream }),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Here(error)) => {
                    tracing::warn!(%model, kind = ?error.kind, %error, "a model does not answer");
                    if first_failure.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
                        first_failure = Some((index, error));
                    }
                }
            }
        }
        let no_candidate = || ProviderError::new("router", ProviderErrorKind::ModelNotFound, "no model is configured");
        Err(first_failure.map_or_else(no_candidate, |(_, error)| error))
    }

    /// Up to `attempts` attempts at one candidate, with waits between them.
    async fn open_one(
        &self,
        model: &ModelRef,
        make_request: &impl Fn(&ModelRef) -> ChatRequest,
        attempts: u32,
    ) -> Result<ChatStream, Failure> {
        // A provider that does not exist has no cooldown: it may be configured the next moment.
        let provider = self.registry.resolve(model).map_err(Failure::Here)?;
        let mut attempt = 1;
        loop {
            let error = match first_chunk(provider.chat(make_request(model)).await, &model.provider).await {
                Ok(stream) => {
                    self.cooldowns.clear(model);
                    return Ok(stream);
                }
                Err(error) => error,
            };
            if matches!(error.kind, ProviderErrorKind::BadRequest | ProviderErrorKind::ContextTooLong) {
                return Err(Failure::Final(error));
            }
            let asked_wait = error.retry_after.unwrap_or_default();
            let is_wait_too_long = asked_wait > self.policy.retry_after_max();
            if !error.is_transient() || attempt >= attempts || is_wait_too_long {
                self.cooldowns.add(model, &self.policy, asked_wait, self.clock.now());
                return Err(Failure::Here(error));
            }
            let wait = asked_wait.max(self.backoff.wait(&self.policy, attempt));
            tracing::debug!(%model, attempt, wait_ms = wait.as_millis() as u64, %error, "trying again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }
}

/// Waits for the first chunk and puts it back before the others.
async fn first_chunk(opened: Result<ChatStream, ProviderError>, provider: &str) -> Result<ChatStream, ProviderError> {
    let mut stream = opened?;
    match stream.next().await {
        Some(Ok(chunk)) => Ok(futures_util::stream::iter([Ok(chunk)]).chain(stream).boxed()),
        Some(Err(error)) => Err(error),
        None => Err(ProviderError::new(provider, ProviderErrorKind::Cut, "the answer ended before it began")),
    }
}

fn cancelled(candidates: &[ModelRef]) -> ProviderError {
    let provider = candidates.first().map_or("router", |model| &*model.provider);
    ProviderError::new(provider, ProviderErrorKind::Cut, "the request was cancelled")
}

#[cfg(test)]
mod tests;
