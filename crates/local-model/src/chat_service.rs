//! The chat model on its thread: one request after the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use providers::{ChatRequest, Chunk, ProviderError, ProviderErrorKind, ResponseFormat, ToolChoice, ToolSpec};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot, watch};

use crate::call_out::Calls;
use crate::chat_model::ChatModel;
use crate::error::EngineError;
use crate::generate::{Order, Shape, Sink, generate};
use crate::grammar::Grammar;
use crate::prompt::Reader;
use crate::sampler::Sampler;
use crate::worker::Service;

/// Part of the temperature asked for that a small model gets: at 0.7 it invents capitals for France.
const SMALL_MODEL_WARMTH: f32 = 0.3;
/// Tokens of an answer when the request does not say.
const ANSWER_TOKENS: usize = 512;

pub type Item = Result<Chunk, ProviderError>;

pub struct ChatJob {
    pub request: ChatRequest,
    /// The installed model's own name, and its file.
    pub model: String,
    pub file: PathBuf,
    /// Told once the prompt is ready, or why it is not.
    pub accepted: oneshot::Sender<Result<(), ProviderError>>,
    /// Has room for a whole answer, so that a slow reader never holds up the engine.
    pub out: mpsc::Sender<Item>,
    /// For requests without a seed.
    pub seed: u64,
}

pub struct ChatService {
    /// For errors.
    pub provider: Arc<str>,
    /// Tokens of prompt and answer together.
    pub window: usize,
    pub loaded: watch::Sender<Option<String>>,
    pub model: Option<(String, ChatModel)>,
}

impl Service for ChatService {
    type Job = ChatJob;

    fn handle(&mut self, job: ChatJob, stop: &AtomicBool) {
        let ChatJob { request, model, file, accepted, out, seed } = job;
        // Whoever asked has gone while the request waited.
        if accepted.is_closed() {
            return;
        }
        let prepared = self.load(&model, &file).and_then(|model| prepare(model, &request, seed));
        let order = match prepared {
            Ok(order) => order,
            Err(error) => {
                let _ = accepted.send(Err(provider_error(&self.provider, &error)));
                return;
            }
        };
        if accepted.send(Ok(())).is_err() {
            return;
        }
        let Some((_, model)) = &mut self.model else { return };
        let mut sink = Channel { out, stop };
        let outcome = generate(&mut model.llama, &model.vocabulary, order, &mut sink);
        match outcome {
            Ok(Some((finish, usage))) => {
                sink.send(Chunk::Usage(usage));
                sink.send(Chunk::Finish(finish));
            }
            Ok(None) => {}
            Err(error) => {
                let _ = sink.out.try_send(Err(provider_error(&self.provider, &error)));
            }
        }
    }

    fn is_loaded(&self) -> bool {
        self.model.is_some()
    }

    fn unload(&mut self) {
        self.model = None;
        self.loaded.send_replace(None);
    }
}

impl ChatService {
    fn load(&mut self, name: &str, file: &std::path::Path) -> Result<&mut ChatModel, EngineError> {
        if self.model.as_ref().is_none_or(|(loaded, _)| loaded != name) {
            // The old one goes first: two at once may be more than the machine has.
            self.unload();
            let model = ChatModel::load(file, self.window)?;
            tracing::info!(model = name, "the embedded chat model is loaded");
            self.loaded.send_replace(Some(name.to_owned()));
            self.model = Some((name.to_owned(), model));
        }
        self.model.as_mut().map(|(_, model)| model).ok_or_else(|| EngineError::Request("no model is loaded".into()))
    }
}

struct Channel<'a> {
    out: mpsc::Sender<Item>,
    stop: &'a AtomicBool,
}

impl Sink for Channel<'_> {
    fn send(&mut self, chunk: Chunk) {
        // Full cannot be: there is room for a whole answer. Closed is seen by `is_open`.
        let _ = self.out.try_send(Ok(chunk));
    }

    fn is_open(&self) -> bool {
        !self.out.is_closed() && !self.stop.load(Ordering::Relaxed)
    }
}

/// Room for every chunk of an answer: at most two for each token, and the closing ones.
pub fn answer_chunks_max(window: usize) -> usize {
    2 * window + 8
}

fn prepare(model: &ChatModel, request: &ChatRequest, seed: u64) -> Result<Order, EngineError> {
    let wanted = request.sampling.max_output_tokens.map_or(ANSWER_TOKENS, |max| max.max(1) as usize);
    let reserved = wanted.min(model.window / 2);
    let reader = Reader { vocabulary: &model.vocabulary, template: &model.template, is_small: model.facts.is_small() };
    let prompt = reader.compose(request, model.window - reserved)?;
    let mut sampling = request.sampling.clone();
    if model.facts.is_small() {
        sampling.temperature = sampling.temperature.map(|temperature| temperature * SMALL_MODEL_WARMTH);
    }
    Ok(Order {
        max_tokens: wanted.min(model.window - prompt.len()),
        stops: request.sampling.stop.clone(),
        sampler: Sampler::new(&sampling, seed),
        shape: shape(request)?,
        call_id: call_id(&prompt, seed),
        prompt,
    })
}

fn shape(request: &ChatRequest) -> Result<Shape, EngineError> {
    let calls = |tools: &[&ToolSpec]| {
        let tools: Vec<_> = tools.iter().map(|tool| (tool.name.as_str(), &*tool.parameters)).collect();
        Arc::new(Calls::new(tools))
    };
    let all: Vec<&ToolSpec> = request.tools.iter().collect();
    match &request.tool_choice {
        ToolChoice::Required if all.is_empty() => {
            return Err(EngineError::Request("a tool call is required, but there are no tools".into()));
        }
        ToolChoice::Required => return Ok(Shape::Call(calls(&all))),
        ToolChoice::Named(name) => {
            let named: Vec<&ToolSpec> = all.into_iter().filter(|tool| tool.name == *name).collect();
            if named.is_empty() {
                return Err(EngineError::Request(format!(
                    "the tool `{name}` is to be called, but it is not among the tools"
                )));
            }
            return Ok(Shape::Call(calls(&named)));
        }
        ToolChoice::Auto | ToolChoice::None => {}
    }
    Ok(match &request.response_format {
        Some(ResponseFormat::JsonObject) => Shape::Json(Arc::new(Grammar::of_object())),
        Some(ResponseFormat::JsonSchema { schema, .. }) => Shape::Json(Arc::new(Grammar::of_schema(schema))),
        None if request.tool_choice == ToolChoice::Auto && !all.is_empty() => Shape::TextOrCall(calls(&all)),
        None => Shape::Text,
    })
}

/// Differs from call to call of a conversation, because the prompt grows, and needs no randomness.
fn call_id(prompt: &[u32], seed: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for token in prompt {
        hash.update(token.to_le_bytes());
    }
    format!("call_{}", &hex::encode(hash.finalize())[..24])
}

pub fn provider_error(provider: &str, error: &EngineError) -> ProviderError {
    let kind = match error {
        EngineError::TooLong { .. } => ProviderErrorKind::ContextTooLong,
        EngineError::Request(_) => ProviderErrorKind::BadRequest,
        EngineError::Read { .. } => ProviderErrorKind::Unreachable,
        EngineError::Compute(_) => ProviderErrorKind::Malformed,
        EngineError::Unusable { .. }
        | EngineError::MissingFact(_)
        | EngineError::Architecture(_)
        | EngineError::Vocabulary(_)
        | EngineError::Template(_) => ProviderErrorKind::Unsupported,
    };
    ProviderError::new(provider, kind, error.to_string())
}
