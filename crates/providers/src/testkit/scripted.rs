//! A provider that says what a test wrote down, and remembers what it was asked.
//!
//! Each call of `chat` takes the next [`Scripted`] answer; when none is left it echoes the last
//! user text word by word. A [`Gate`] in an answer holds the stream open until the test lets it on
//! or drops it. Nothing here sleeps or reads a clock.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::StreamExt;
use model::{Role, Usage};
use serde_json::Value;
use tokio::sync::watch;

use crate::chat::{ChatRequest, ChatStream, Chunk, FinishReason};
use crate::error::{ProviderError, ProviderErrorKind};
use crate::provider::{Capabilities, Embeddings, ModelInfo, ModelSource, Provider};

/// Length of the vectors that [`ScriptedProvider`] gives.
pub const SCRIPTED_DIMENSIONS: usize = 32;

/// One scripted answer to one call of `chat`.
#[derive(Debug, Clone)]
pub enum Scripted {
    /// `chat` itself fails: the vendor did not accept the request.
    Refuse(ProviderError),
    /// `chat` succeeds and the stream takes these steps, then ends.
    Stream(Vec<Step>),
}

/// One step of a scripted stream.
#[derive(Debug, Clone)]
pub enum Step {
    Chunk(Chunk),
    /// The stream yields this error and ends.
    Fail(ProviderError),
    /// The stream waits until the gate is opened, or is dropped while waiting.
    Wait(Gate),
}

impl Scripted {
    /// A whole answer: the text word by word, usage, `Stop`.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Stream(Vec::new()).then_text(text).then_finish(FinishReason::Stop)
    }

    /// A whole answer that calls tools: `(id, name, arguments as JSON)` for each, usage, `ToolCalls`.
    pub fn tool_calls<const N: usize>(calls: [(&str, &str, Value); N]) -> Self {
        let mut steps = Vec::new();
        for (index, (id, name, arguments)) in calls.into_iter().enumerate() {
            steps.push(Step::Chunk(Chunk::ToolCall { index, id: id.to_owned(), name: name.to_owned() }));
            steps.push(Step::Chunk(Chunk::ToolArguments { index, text: arguments.to_string() }));
        }
        Self::Stream(steps).then_finish(FinishReason::ToolCalls)
    }

    /// Exactly these chunks; put a `Finish` last unless the test is about its absence.
    pub fn chunks(chunks: impl IntoIterator<Item = Chunk>) -> Self {
        Self::Stream(chunks.into_iter().map(Step::Chunk).collect())
    }

    /// Nothing at all until the gate opens; then the text, usage, `Stop`.
    pub fn held(gate: &Gate, text: impl AsRef<str>) -> Self {
        Self::Stream(Vec::new()).then_wait(gate).then_text(text).then_finish(FinishReason::Stop)
    }

    /// The vendor refuses the request with an error of this kind.
    pub fn refuse(kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self::Refuse(ProviderError::new("scripted", kind, message))
    }

    /// The answer begins with `text` and then breaks with an error of this kind.
    pub fn breaks_after(text: impl AsRef<str>, kind: ProviderErrorKind) -> Self {
        Self::Stream(Vec::new()).then_text(text).then(Step::Fail(ProviderError::new(
            "scripted",
            kind,
            "the scripted answer broke off",
        )))
    }

    /// Adds a step; a refused request stays refused.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        if let Self::Stream(steps) = &mut self {
            steps.push(step);
        }
        self
    }

    #[must_use]
    pub fn then_text(self, text: impl AsRef<str>) -> Self {
        text.as_ref()
            .split_inclusive(' ')
            .fold(self, |script, word| script.then(Step::Chunk(Chunk::Text(word.to_owned()))))
    }

    #[must_use]
    pub fn then_reasoning(self, text: impl Into<String>) -> Self {
        self.then(Step::Chunk(Chunk::Reasoning(text.into())))
    }

    #[must_use]
    pub fn then_wait(self, gate: &Gate) -> Self {
        self.then(Step::Wait(gate.clone()))
    }

    /// Usage of 10 tokens of input and one of output for each chunk so far, then the reason.
    #[must_use]
    pub fn then_finish(self, reason: FinishReason) -> Self {
        let output = match &self {
            Self::Stream(steps) => steps.iter().filter(|step| matches!(step, Step::Chunk(_))).count() as u64,
            Self::Refuse(_) => 0,
        };
        let usage = Usage { input: 10, output, ..Usage::default() };
        self.then(Step::Chunk(Chunk::Usage(usage))).then(Step::Chunk(Chunk::Finish(reason)))
    }
}

/// A point where scripted streams wait until the test opens it. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    is_open: Arc<watch::Sender<bool>>,
    arrivals: Arc<watch::Sender<usize>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    pub fn new() -> Self {
        Self { is_open: Arc::new(watch::Sender::new(false)), arrivals: Arc::new(watch::Sender::new(0)) }
    }

    /// Lets all streams through, those that come later too.
    pub fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// Returns once a stream has come to this gate, whether or not it is open.
    pub async fn reached(&self) {
        wait_for_at_least(&self.arrivals, 1).await;
    }

    pub(super) async fn pass(&self) {
        self.arrivals.send_modify(|count| *count += 1);
        let mut is_open = self.is_open.subscribe();
        // The sender lives in `self`, so it cannot go away while we wait.
        let _ = is_open.wait_for(|open| *open).await;
    }
}

/// See the [module](self). Clones share the script and the log.
#[derive(Clone)]
pub struct ScriptedProvider {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    state: Mutex<State>,
    requests_seen: watch::Sender<usize>,
    open_streams: watch::Sender<usize>,
    dropped_streams: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Scripted>,
    requests: Vec<ChatRequest>,
    models: Vec<ModelInfo>,
    listing_error: Option<ProviderError>,
    embedded: Vec<String>,
}

impl ScriptedProvider {
    /// A provider that echoes, with one model, `default`.
    pub fn new(name: impl Into<String>) -> Self {
        let state = State { models: vec![scripted_model("default")], ..State::default() };
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                state: Mutex::new(state),
                requests_seen: watch::Sender::new(0),
                open_streams: watch::Sender::new(0),
                dropped_streams: watch::Sender::new(0),
            }),
        }
    }

    /// Adds a plain text answer to the script.
    #[must_use]
    pub fn answer(self, text: impl AsRef<str>) -> Self {
        self.push(Scripted::text(text));
        self
    }

    #[must_use]
    pub fn answers(self, answers: impl IntoIterator<Item = Scripted>) -> Self {
        self.state().script.extend(answers);
        self
    }

    /// Replaces the list of models.
    #[must_use]
    pub fn with_models(self, models: impl IntoIterator<Item = ModelInfo>) -> Self {
        self.state().models = models.into_iter().collect();
        self
    }

    /// Makes `models` fail, until called again with `None`.
    pub fn fail_listing(&self, error: Option<ProviderError>) {
        self.state().listing_error = error;
    }

    /// Adds an answer while the provider is in use.
    pub fn push(&self, answer: Scripted) {
        self.state().script.push_back(answer);
    }

    /// Every request seen so far, oldest first.
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.state().requests.clone()
    }

    /// Every text that was embedded, in order.
    pub fn embedded(&self) -> Vec<String> {
        self.state().embedded.clone()
    }

    /// Answers of the script that nobody asked for yet.
    pub fn answers_left(&self) -> usize {
        self.state().script.len()
    }

    /// Returns once at least `count` requests have come.
    pub async fn wait_for_requests(&self, count: usize) {
        wait_for_at_least(&self.shared.requests_seen, count).await;
    }

    /// Streams that are neither read to their end nor dropped.
    pub fn open_streams(&self) -> usize {
        *self.shared.open_streams.borrow()
    }

    /// Streams that were dropped before their end, as a cancelled run does.
    pub fn dropped_streams(&self) -> usize {
        *self.shared.dropped_streams.borrow()
    }

    /// Returns once at least `count` streams were dropped before their end.
    pub async fn wait_for_dropped(&self, count: usize) {
        wait_for_at_least(&self.shared.dropped_streams, count).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Provider for ScriptedProvider {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn kind(&self) -> &'static str {
        "scripted"
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        let script = {
            let mut state = self.state();
            let script = state.script.pop_front().unwrap_or_else(|| Scripted::text(last_user_text(&request)));
            state.requests.push(request);
            script
        };
        self.shared.requests_seen.send_modify(|count| *count += 1);
        match script {
            Scripted::Refuse(error) => Err(named(error, &self.shared.name)),
            Scripted::Stream(steps) => Ok(play(Arc::clone(&self.shared), steps)),
        }
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        let state = self.state();
        match &state.listing_error {
            Some(error) => Err(named(error.clone(), &self.shared.name)),
            None => Ok(state.models.clone()),
        }
    }

    /// All of them, also while the listing fails.
    fn configured_models(&self) -> Vec<ModelInfo> {
        self.state().models.clone()
    }

    fn describe(&self, model: &str) -> ModelInfo {
        self.state().models.iter().find(|info| info.id == model).cloned().unwrap_or_else(|| scripted_model(model))
    }

    /// A bag of hashed words, of length 1: texts that share words are near each other.
    async fn embed(&self, model: &str, inputs: &[String]) -> Result<Embeddings, ProviderError> {
        self.state().embedded.extend_from_slice(inputs);
        let words = inputs.iter().map(|text| text.split_whitespace().count() as u64).sum();
        Ok(Embeddings {
            vectors: inputs.iter().map(|text| bag_of_words(text)).collect(),
            model: model.to_owned(),
            input_tokens: Some(words),
        })
    }
}

fn scripted_model(id: &str) -> ModelInfo {
    ModelInfo {
        id: id.to_owned(),
        name: id.to_owned(),
        capabilities: Capabilities { vision: true, thinking: true, embeddings: true, ..Capabilities::CHAT },
        context_window: Some(100_000),
        max_output_tokens: Some(8_192),
        source: ModelSource::Config,
        notice: None,
    }
}

fn named(error: ProviderError, name: &str) -> ProviderError {
    ProviderError { provider: name.to_owned(), ..error }
}

fn last_user_text(request: &ChatRequest) -> String {
    let last = request.messages.iter().rev().find(|message| message.role == Role::User);
    last.map(|message| message.content.text().into_owned()).unwrap_or_default()
}

fn play(shared: Arc<Shared>, steps: Vec<Step>) -> ChatStream {
    let mut open = OpenStream::new(shared);
    async_stream::stream! {
        for step in steps {
            match step {
                Step::Chunk(chunk) => {
                    // A reader may stop at `Finish`: nothing is to follow it.
                    if matches!(chunk, Chunk::Finish(_)) {
                        open.end();
                    }
                    yield Ok(chunk);
                }
                Step::Wait(gate) => gate.pass().await,
                Step::Fail(error) => {
                    open.end();
                    yield Err(named(error, &open.shared.name));
                    return;
                }
            }
        }
        open.end();
    }
    .boxed()
}

/// Counts a stream in and out, and tells an end from a drop.
struct OpenStream {
    shared: Arc<Shared>,
    has_ended: bool,
}

impl OpenStream {
    fn new(shared: Arc<Shared>) -> Self {
        shared.open_streams.send_modify(|count| *count += 1);
        Self { shared, has_ended: false }
    }

    fn end(&mut self) {
        self.has_ended = true;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.shared.open_streams.send_modify(|count| *count -= 1);
        if !self.has_ended {
            self.shared.dropped_streams.send_modify(|count| *count += 1);
        }
    }
}

async fn wait_for_at_least(count: &watch::Sender<usize>, wanted: usize) {
    // The caller holds the sender, so waiting cannot fail.
    let _ = count.subscribe().wait_for(|count| *count >= wanted).await;
}

fn bag_of_words(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0_f32; SCRIPTED_DIMENSIONS];
    for word in text.split_whitespace() {
        let mut hasher = DefaultHasher::new();
        word.to_lowercase().hash(&mut hasher);
        let slot = hasher.finish() % SCRIPTED_DIMENSIONS as u64;
        vector[slot as usize] += 1.0;
    }
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    } else {
        vector[0] = 1.0;
    }
    vector
}

#[cfg(test)]
mod tests;
