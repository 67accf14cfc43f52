//! One question to the model: the conversation made to fit, the stream read, faults retried.

use std::mem;

use futures_util::{FutureExt, Stream, StreamExt};
use model::{ErrorKind, ModelRef, NewMessage, Noun, RunError, Thinking};
use providers::{ChatRequest, ChatStream, ProviderError, ProviderErrorKind};

use crate::answer::{Answer, Draft};
use crate::asked::Asked;
use crate::course::Course;
use crate::journal::JournalError;
use crate::transcript;
use crate::turn::TurnEnd;
use crate::window::Room;

/// How often an answer that broke off before its first word is asked for again.
const STREAM_RETRIES_MAX: u32 = 2;

/// Compactions for one question: one near the window's end, one more when that was not enough.
const COMPACTIONS_MAX: u32 = 2;

/// Chunks taken at once before those who follow the run get their turn: they may be this many behind.
const BURST: u32 = 64;

/// How reading a stream came to its end.
enum Read {
    Whole(Box<Answer>),
    Cancelled,
    Broken(ProviderError),
}

enum Compacted {
    Shorter,
    NoGain,
    Cancelled,
}

impl Course<'_> {
    pub(crate) async fn ask(&mut self) -> Result<Asked, JournalError> {
        let mut retries = 0;
        let mut compactions = 0;
        loop {
            if let Some(end) = self.fit_window(&mut compactions).await? {
                return Ok(end);
            }
            let mut draft = Draft::default();
            let error = match self.attempt(&mut draft).await? {
                Read::Whole(answer) => return Ok(Asked::Answer(answer)),
                Read::Cancelled => {
                    self.charge(&draft);
                    return Ok(end(TurnEnd::Cancelled { partial: draft.into_partial(self.model.as_ref()) }));
                }
                Read::Broken(error) => error,
            };
            self.charge(&draft);
            // What the user has seen cannot be taken back, so only a silent attempt is repeated.
            if draft.text().is_empty() {
                if error.kind == ProviderErrorKind::ContextTooLong && compactions < COMPACTIONS_MAX {
                    compactions += 1;
                    match self.compact().await? {
                        Compacted::Shorter => continue,
                        Compacted::NoGain => {}
                        Compacted::Cancelled => return Ok(end(TurnEnd::Cancelled { partial: None })),
                    }
                } else if draft.has_begun() && error.is_transient() && retries < STREAM_RETRIES_MAX {
                    retries += 1;
                    tracing::warn!(%error, "the answer broke off before its first word; asking again");
                    continue;
                }
            }
            let partial = draft.into_partial(self.model.as_ref());
            return Ok(end(TurnEnd::Failed { error: told(&error), partial }));
        }
    }

    /// Makes the conversation fit the window of the model that will probably answer.
    async fn fit_window(&mut self, compactions: &mut u32) -> Result<Option<Asked>, JournalError> {
        let Some(model) = self.model.as_ref().or_else(|| self.turn.candidates.first()).cloned() else {
            let message = String::from("no model is configured for this agent");
            let error = RunError { kind: ErrorKind::NotFound(Noun::Model), message };
            return Ok(Some(end(TurnEnd::Failed { error, partial: None })));
        };
        let known = self.router.registry().describe(&model);
        let Some(room) = known.and_then(|known| Room::of(&known, &self.turn.sampling)) else {
            return Ok(None);
        };
        let mut has_gained = true;
        loop {
            let tokens = self.gauge.tokens(&self.turn.history);
            let fits = tokens <= room.usable();
            let is_tried = *compactions > 0 || !self.gauge.is_worth_compacting(tokens, room);
            if !room.is_near_end(tokens) || (fits && is_tried) {
                return Ok(None);
            }
            if !has_gained || *compactions >= COMPACTIONS_MAX {
                let message = format!(
                    "the conversation has about {tokens} tokens and does not fit into `{model}`, which takes {}, also after compaction",
                    room.usable()
                );
                let error = RunError { kind: ErrorKind::Conflict, message };
                return Ok(Some(end(TurnEnd::Failed { error, partial: None })));
            }
            *compactions += 1;
            match self.compact().await? {
                Compacted::Shorter => {}
                Compacted::NoGain => has_gained = false,
                Compacted::Cancelled => return Ok(Some(end(TurnEnd::Cancelled { partial: None }))),
            }
        }
    }

    async fn compact(&mut self) -> Result<Compacted, JournalError> {
        let cancel = self.turn.context.cancel.clone();
        let shorter = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(Compacted::Cancelled),
            shorter = self.journal.compact() => shorter?,
        };
        let result = match shorter {
            Some(history) => {
                self.turn.history = history;
                self.gauge.forget();
                Compacted::Shorter
            }
            None => Compacted::NoGain,
        };
        self.gauge.set_compacted(&self.turn.history);
        Ok(result)
    }

    /// One call of a model, from request to last chunk.
    async fn attempt(&mut self, draft: &mut Draft) -> Result<Read, JournalError> {
        let cancel = self.turn.context.cancel.clone();
        let opened = {
            let make_request = |model: &ModelRef| self.request(model);
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(Read::Cancelled),
                opened = self.router.open(&self.turn.candidates, make_request, &cancel) => opened,
            }
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(_) if cancel.is_cancelled() => return Ok(Read::Cancelled),
            Err(error) => return Ok(Read::Broken(error)),
        };
        self.turn.iterations += 1;
        tracing::debug!(model = %opened.model, call = self.turn.iterations, "the model answers");
        draft.begin();
        if self.model.as_ref() != Some(&opened.model) {
            self.model = Some(opened.model.clone());
            self.journal.model_chosen(&opened.model).await?;
        }
        Ok(self.read(opened.stream, &opened.model, draft).await)
    }

    fn request(&self, model: &ModelRef) -> ChatRequest {
        let mut messages = Vec::with_capacity(self.turn.history.len() + 1);
        if !self.turn.system.is_empty() {
            messages.push(NewMessage::system(self.turn.system.as_str()));
        }
        messages.extend(transcript::for_provider(&self.turn.history, &model.provider));
        let (tool_choice, parallel_tool_calls) = self.toolbox.choice();
        ChatRequest {
            model: model.model.to_string(),
            messages,
            tools: self.toolbox.specs().to_vec(),
            tool_choice,
            parallel_tool_calls,
            thinking: Some(self.turn.thinking),
            sampling: self.turn.sampling.clone(),
            ..ChatRequest::default()
        }
    }

    async fn read(&mut self, mut stream: ChatStream, model: &ModelRef, draft: &mut Draft) -> Read {
        let cancel = self.turn.context.cancel.clone();
        let shows_reasoning = self.turn.thinking != Thinking::Off;
        let mut taken_at_once = 0;
        loop {
            if cancel.is_cancelled() {
                draft.tell(self.journal);
                return Read::Cancelled;
            }
            let chunk = match next_if_here(&mut stream, draft).await {
                Some(chunk) => chunk,
                None => {
                    draft.tell(self.journal);
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => return Read::Cancelled,
                        chunk = stream.next() => chunk,
                    }
                }
            };
            let taken = match chunk {
                Some(Ok(chunk)) => draft.take(chunk, self.journal, shows_reasoning),
                Some(Err(error)) => {
                    draft.tell(self.journal);
                    return Read::Broken(error);
                }
                None => Err((ProviderErrorKind::Cut, String::from("the answer ended before it was whole"))),
            };
            if !matches!(taken, Ok(None)) {
                draft.tell(self.journal);
            }
            match taken {
                Ok(None) => {
                    taken_at_once += 1;
                    if taken_at_once % BURST == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(Some(finish)) => {
                    self.charge(draft);
                    let answer = mem::take(draft).finish(finish, model);
                    self.gauge.learn(&self.turn.history, answer.message.usage);
                    return Read::Whole(Box::new(answer));
                }
                Err((kind, message)) => return Read::Broken(ProviderError::new(&*model.provider, kind, message)),
            }
        }
    }

    /// Adds what an answer cost, whole or not, to the turn.
    fn charge(&mut self, draft: &Draft) {
        if draft.has_content() {
            let usage = draft.usage_or_estimate(self.gauge.tokens(&self.turn.history));
            self.turn.usage = self.turn.usage.plus(usage);
        }
    }
}

/// The next chunk if it is here. While something waits to be told, the connection gets one more chance
/// to hand over what it has read already: it gives each piece to this task separately.
async fn next_if_here(stream: &mut ChatStream, draft: &Draft) -> Option<Option<<ChatStream as Stream>::Item>> {
    if let Some(chunk) = stream.next().now_or_never() {
        return Some(chunk);
    }
    if !draft.has_untold() {
        return None;
    }
    tokio::task::yield_now().await;
    stream.next().now_or_never()
}

fn end(end: TurnEnd) -> Asked {
    Asked::End(Box::new(end))
}

fn told(error: &ProviderError) -> RunError {
    let kind = match error.kind {
        ProviderErrorKind::ModelNotFound => ErrorKind::NotFound(Noun::Model),
        ProviderErrorKind::ContextTooLong => ErrorKind::Conflict,
        ProviderErrorKind::Auth | ProviderErrorKind::BadRequest | ProviderErrorKind::Unsupported => {
            ErrorKind::ProviderRefused
        }
        ProviderErrorKind::RateLimited
        | ProviderErrorKind::Overloaded
        | ProviderErrorKind::Unreachable
        | ProviderErrorKind::Timeout
        | ProviderErrorKind::Cut
        | ProviderErrorKind::Malformed => ErrorKind::ProviderFailed,
    };
    RunError { kind, message: error.to_string() }
}
