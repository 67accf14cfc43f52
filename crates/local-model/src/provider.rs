//! The embedded models as a [`Provider`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use providers::{
    Capabilities, ChatRequest, ChatStream, Chunk, Embeddings, ModelInfo, ModelSource, Provider, ProviderError,
    ProviderErrorKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::catalogue::{DEFAULT, DEFAULT_EMBEDDER, ModelKind};
use crate::chat_service::{ChatJob, ChatService, Item, answer_chunks_max};
use crate::embed_service::{EmbedJob, EmbedService};
use crate::embedder::TEXT_TOKENS_MAX;
use crate::manifest::{self, Installed};
use crate::worker::{Refused, Worker};

/// When a full queue is worth another try.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Texts in one call.
const EMBED_TEXTS_MAX: usize = 2048;
/// What the window may be set to, in tokens.
const WINDOW_MIN: usize = 256;
const WINDOW_MAX: usize = 32 * 1024;

const NOTICE: &str = "This small model runs inside Patchbay to show that everything works without a key: fluent short English, \
    unreliable facts and arithmetic. For real work configure a provider key or an Ollama server and choose one of its models.";
const NOT_INSTALLED: &str = "Not installed: run `patchbay models pull default`.";

/// Settings of the provider of kind `local`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSettings {
    /// Seconds without a request after which a model's memory is given back.
    pub idle_unload_secs: u64,
    /// Threads that compute; 0 = all cores but one.
    pub threads: usize,
    /// Tokens of prompt and answer together, 256 to 32768, at most what the model was trained for.
    pub context: usize,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self { idle_unload_secs: 300, threads: 0, context: 2048 }
    }
}

/// The embedded models. Making one takes microseconds: threads and weights come with the first request.
pub struct LocalProvider {
    name: Arc<str>,
    models_dir: PathBuf,
    window: usize,
    chat: Worker<ChatService>,
    embedder: Worker<EmbedService>,
    chat_loaded: watch::Receiver<Option<String>>,
    embedder_loaded: watch::Receiver<Option<String>>,
    /// Counts requests; the seed of those that bring none.
    requests: AtomicU64,
}

impl LocalProvider {
    /// `models_dir` need not exist yet; a model installed later is found.
    pub fn new(name: &str, models_dir: &Path, settings: &LocalSettings) -> Self {
        let name: Arc<str> = Arc::from(name);
        let idle = Duration::from_secs(settings.idle_unload_secs.max(1));
        let window = settings.context.clamp(WINDOW_MIN, WINDOW_MAX);
        let (loaded, chat_loaded) = watch::channel(None);
        let chat = ChatService { provider: Arc::clone(&name), window, loaded, model: None };
        let (loaded, embedder_loaded) = watch::channel(None);
        let embedder = EmbedService { provider: Arc::clone(&name), loaded, model: None };
        Self {
            chat: Worker::new("local-chat", settings.threads, idle, chat),
            embedder: Worker::new("local-embed", settings.threads, idle, embedder),
            name,
            models_dir: models_dir.to_owned(),
            window,
            chat_loaded,
            embedder_loaded,
            requests: AtomicU64::new(0),
        }
    }

    /// The chat model that is in memory now.
    pub fn chat_loaded(&self) -> watch::Receiver<Option<String>> {
        self.chat_loaded.clone()
    }

    /// The embedder that is in memory now.
    pub fn embedder_loaded(&self) -> watch::Receiver<Option<String>> {
        self.embedder_loaded.clone()
    }

    fn installed(&self, model: &str, kind: ModelKind) -> Result<Installed, ProviderError> {
        manifest::find(&self.models_dir, model, kind).ok_or_else(|| {
            let others = manifest::list(&self.models_dir);
            let others: Vec<&str> = others
                .iter()
                .filter(|other| other.manifest.kind == kind)
                .map(|other| other.manifest.name.as_str())
                .collect();
            let advice = match others.as_slice() {
                [] => "run `patchbay models pull default`".to_owned(),
                others => format!("run `patchbay models pull {model}`, or use one that is: {}", others.join(", ")),
            };
            self.error(ProviderErrorKind::ModelNotFound, format!("the model `{model}` is not installed; {advice}"))
        })
    }

    fn error(&self, kind: ProviderErrorKind, message: impl Into<String>) -> ProviderError {
        ProviderError::new(&*self.name, kind, message)
    }

    fn refused(&self, refused: &Refused) -> ProviderError {
        match refused {
            Refused::Full => {
                let error =
                    self.error(ProviderErrorKind::Overloaded, "the embedded model has too many requests waiting");
                ProviderError { retry_after: Some(RETRY_AFTER), ..error }
            }
            Refused::Dead => {
                self.error(ProviderErrorKind::Unreachable, "the embedded model's threads could not be started")
            }
        }
    }

    fn gone(&self) -> ProviderError {
        self.error(ProviderErrorKind::Cut, "the embedded model stopped before its answer was whole")
    }

    fn info(&self, id: &str, kind: ModelKind, about: &str) -> ModelInfo {
        let is_chat = kind == ModelKind::Chat;
        let nothing = Capabilities { chat: false, tools: false, streaming: false, ..Capabilities::CHAT };
        let window = if is_chat { self.window } else { TEXT_TOKENS_MAX };
        ModelInfo {
            id: id.to_owned(),
            name: about.to_owned(),
            capabilities: if is_chat { Capabilities::CHAT } else { Capabilities { embeddings: true, ..nothing } },
            context_window: u32::try_from(window).ok(),
            max_output_tokens: if is_chat { u32::try_from(self.window / 2).ok() } else { None },
            source: ModelSource::Preset,
            notice: is_chat.then(|| NOTICE.to_owned()),
        }
    }
}

#[async_trait]
impl Provider for LocalProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "local"
    }

    /// Waits for the requests before it. Dropping the future or the stream ends the work at the next token.
    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        let model = self.installed(&request.model, ModelKind::Chat)?;
        let (accepted, answer) = oneshot::channel();
        let (out, chunks) = mpsc::channel(answer_chunks_max(self.window));
        let seed = self.requests.fetch_add(1, Ordering::Relaxed);
        let job = ChatJob { request, file: model.chat_file(), model: model.manifest.name, accepted, out, seed };
        self.chat.submit(job).map_err(|refused| self.refused(&refused))?;
        answer.await.map_err(|_| self.gone())??;
        Ok(whole(chunks, self.gone()))
    }

    /// Only what is installed; empty before the first `patchbay models pull`.
    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        let mut models = Vec::new();
        for (alias, kind) in [(DEFAULT, ModelKind::Chat), (DEFAULT_EMBEDDER, ModelKind::Embedder)] {
            if let Some(found) = manifest::find(&self.models_dir, alias, kind) {
                models.push(self.info(alias, kind, &found.manifest.about));
            }
        }
        for found in manifest::list(&self.models_dir) {
            models.push(self.info(&found.manifest.name, found.manifest.kind, &found.manifest.about));
        }
        Ok(models)
    }

    fn describe(&self, model: &str) -> ModelInfo {
        let found = [ModelKind::Chat, ModelKind::Embedder].into_iter().find_map(|kind| {
            let alias_of_other = kind == ModelKind::Embedder && model == DEFAULT;
            (!alias_of_other).then(|| manifest::find(&self.models_dir, model, kind)).flatten()
        });
        match found {
            Some(found) => self.info(model, found.manifest.kind, &found.manifest.about),
            None => {
                let kind = if model == DEFAULT_EMBEDDER { ModelKind::Embedder } else { ModelKind::Chat };
                ModelInfo { notice: Some(NOT_INSTALLED.to_owned()), ..self.info(model, kind, model) }
            }
        }
    }

    async fn embed(&self, model: &str, inputs: &[String]) -> Result<Embeddings, ProviderError> {
        if inputs.len() > EMBED_TEXTS_MAX {
            let message = format!("{} texts in one call are more than {EMBED_TEXTS_MAX}", inputs.len());
            return Err(self.error(ProviderErrorKind::BadRequest, message));
        }
        let found = self.installed(model, ModelKind::Embedder)?;
        let (answer, wait) = oneshot::channel();
        let name = found.manifest.name.clone();
        let job = EmbedJob { texts: inputs.to_vec(), model: found.manifest.name, folder: found.folder, answer };
        self.embedder.submit(job).map_err(|refused| self.refused(&refused))?;
        let embedded = wait.await.map_err(|_| self.gone())??;
        Ok(Embeddings { vectors: embedded.vectors, model: name, input_tokens: Some(embedded.tokens) })
    }
}

/// The chunks as they come; an end without `Finish` becomes the error `cut`.
fn whole(chunks: mpsc::Receiver<Item>, cut: ProviderError) -> ChatStream {
    let next = |(mut chunks, cut): (mpsc::Receiver<Item>, Option<ProviderError>)| async move {
        let cut = cut?;
        match chunks.recv().await {
            Some(Ok(chunk @ Chunk::Finish(_))) => Some((Ok(chunk), (chunks, None))),
            Some(Ok(chunk)) => Some((Ok(chunk), (chunks, Some(cut)))),
            Some(Err(error)) => Some((Err(error), (chunks, None))),
            None => Some((Err(cut), (chunks, None))),
        }
    };
    Box::pin(stream::unfold((chunks, Some(cut)), next))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use model::NewMessage;
    use providers::{FinishReason, ResponseFormat, Sampling, ToolChoice, ToolSpec};
    use serde_json::json;

    use super::*;
    use crate::tiny;

    fn provider(models_dir: &Path) -> LocalProvider {
        LocalProvider::new("local", models_dir, &LocalSettings { threads: 1, context: 512, ..LocalSettings::default() })
    }

    fn asking(model: &str, max: u32) -> ChatRequest {
        ChatRequest {
            model: model.into(),
            messages: vec![NewMessage::user("hello")],
            sampling: Sampling { max_output_tokens: Some(max), ..Sampling::default() },
            ..ChatRequest::default()
        }
    }

    async fn answer(provider: &LocalProvider, request: ChatRequest) -> Vec<Chunk> {
        provider.chat(request).await.unwrap().map(Result::unwrap).collect().await
    }

    #[tokio::test]
    async fn without_weights_the_error_says_how_to_get_them() {
        let folder = tempfile::tempdir().unwrap();
        let provider = provider(&folder.path().join("none"));
        let error = provider.chat(asking("default", 5)).await.err().unwrap();
        assert_eq!(error.kind, ProviderErrorKind::ModelNotFound);
        assert!(error.message.contains("patchbay models pull default"), "{error}");
        let error = provider.embed("default-embedder", &["a".into()]).await.unwrap_err();
        assert_eq!(error.kind, ProviderErrorKind::ModelNotFound);
        assert_eq!(provider.models().await.unwrap(), []);
        assert!(provider.describe("default").notice.unwrap().contains("models pull"));
    }

    #[tokio::test]
    async fn an_installed_model_answers_under_both_names_with_usage_and_finish_last() {
        let folder = tempfile::tempdir().unwrap();
        let provider = provider(folder.path());
        // Installed after the provider was made.
        tiny::install_as(folder.path(), "tiny");
        let ids: Vec<String> = provider.models().await.unwrap().into_iter().map(|info| info.id).collect();
        assert_eq!(ids, ["default", "tiny"]);
        assert!(provider.describe("tiny").notice.unwrap().contains("provider key"));
        assert_eq!(provider.describe("tiny").capabilities.words(), ["chat", "tools", "streaming"]);
        assert_eq!(*provider.chat_loaded().borrow(), None);
        for name in ["default", "tiny"] {
            let chunks = answer(&provider, asking(name, 8)).await;
            let [.., Chunk::Usage(usage), Chunk::Finish(finish)] = chunks.as_slice() else { panic!("{chunks:?}") };
            assert!(usage.input > 10 && usage.output <= 8, "{usage:?}");
            assert!(matches!(finish, FinishReason::Length | FinishReason::Stop));
        }
        assert_eq!(provider.chat_loaded().borrow().as_deref(), Some("tiny"));
        let error = provider.chat(asking("gpt-9", 5)).await.err().unwrap();
        assert!(error.message.contains("tiny"), "{error}");
    }

    #[tokio::test]
    async fn a_named_tool_is_called_and_json_is_json() {
        let folder = tempfile::tempdir().unwrap();
        tiny::install_as(folder.path(), "tiny");
        let provider = provider(folder.path());
        let parameters = json!({"type": "object", "required": ["on"], "properties": {"on": {"type": "boolean"}}});
        let request = ChatRequest {
            tools: vec![ToolSpec { name: "lamp".into(), description: "".into(), parameters: parameters.into() }],
            tool_choice: ToolChoice::Named("lamp".into()),
            ..asking("tiny", 120)
        };
        let chunks = answer(&provider, request.clone()).await;
        let Chunk::ToolCall { index: 0, id, name } = &chunks[0] else { panic!("{chunks:?}") };
        assert!(id.starts_with("call_") && name == "lamp");
        assert_eq!(chunks.last(), Some(&Chunk::Finish(FinishReason::ToolCalls)));
        let missing = ChatRequest { tool_choice: ToolChoice::Named("door".into()), ..request };
        assert_eq!(provider.chat(missing).await.err().unwrap().kind, ProviderErrorKind::BadRequest);

        let format =
            ResponseFormat::JsonSchema { name: "x".into(), schema: json!({"enum": ["yes", "no"]}), strict: true };
        let chunks = answer(&provider, ChatRequest { response_format: Some(format), ..asking("tiny", 50) }).await;
        let text: String = chunks
            .iter()
            .filter_map(|chunk| if let Chunk::Text(text) = chunk { Some(text.as_str()) } else { None })
            .collect();
        assert!(["\"yes\"", "\"no\""].contains(&text.as_str()), "{text}");
    }

    #[tokio::test]
    async fn requests_that_nobody_waits_for_cost_nothing_and_the_queue_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        tiny::install_as(folder.path(), "tiny");
        let provider = provider(folder.path());
        // Polled once: submitted, and given up before the engine answers or after; both must leave it usable.
        for _ in 0..100 {
            let given_up = provider.chat(asking("tiny", 400));
            if let Some(Err(error)) = futures_util::FutureExt::now_or_never(given_up) {
                assert_eq!((error.kind, error.retry_after), (ProviderErrorKind::Overloaded, Some(RETRY_AFTER)));
            }
        }
        loop {
            match provider.chat(asking("tiny", 3)).await {
                Ok(stream) => {
                    let chunks: Vec<_> = stream.collect().await;
                    assert!(matches!(chunks.last(), Some(Ok(Chunk::Finish(_)))));
                    break;
                }
                Err(error) => assert_eq!(error.kind, ProviderErrorKind::Overloaded),
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_damaged_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        tiny::install_as(folder.path(), "tiny");
        std::fs::write(folder.path().join("tiny/model.gguf"), "garbage").unwrap();
        let error = provider(folder.path()).chat(asking("tiny", 3)).await.err().unwrap();
        assert_eq!(error.kind, ProviderErrorKind::Unsupported);
        assert!(error.message.contains("model.gguf"), "{error}");
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_says_so() {
        let (out, chunks) = mpsc::channel(4);
        out.send(Ok(Chunk::Text("a".into()))).await.unwrap();
        drop(out);
        let cut = ProviderError::new("local", ProviderErrorKind::Cut, "cut");
        let items: Vec<_> = whole(chunks, cut).collect().await;
        assert_eq!(items.len(), 2);
        assert_eq!(items[1].as_ref().unwrap_err().kind, ProviderErrorKind::Cut);
    }
}
