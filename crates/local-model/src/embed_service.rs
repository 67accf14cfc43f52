//! The embedder on its thread. Apart from the chat model's, so that memory search does not wait for an answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use providers::ProviderError;
use tokio::sync::{oneshot, watch};

use crate::chat_service::provider_error;
use crate::embedder::{Embedded, Embedder};
use crate::error::EngineError;
use crate::worker::Service;

pub struct EmbedJob {
    pub texts: Vec<String>,
    /// The installed model's own name, and its folder.
    pub model: String,
    pub folder: PathBuf,
    pub answer: oneshot::Sender<Result<Embedded, ProviderError>>,
}

pub struct EmbedService {
    pub provider: Arc<str>,
    pub loaded: watch::Sender<Option<String>>,
    pub model: Option<(String, Embedder)>,
}

impl Service for EmbedService {
    type Job = EmbedJob;

    fn handle(&mut self, job: EmbedJob, stop: &AtomicBool) {
        let EmbedJob { texts, model, folder, answer } = job;
        let wanted = || !answer.is_closed() && !stop.load(Ordering::Relaxed);
        if !wanted() {
            return;
        }
        let embedded = self.load(&model, &folder).and_then(|model| model.embed(&texts, &wanted));
        // `None`: nobody waits any more.
        if let Some(embedded) = embedded.transpose() {
            let _ = answer.send(embedded.map_err(|error| provider_error(&self.provider, &error)));
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

impl EmbedService {
    fn load(&mut self, name: &str, folder: &std::path::Path) -> Result<&Embedder, EngineError> {
        if self.model.as_ref().is_none_or(|(loaded, _)| loaded != name) {
            self.unload();
            let model = Embedder::load(folder)?;
            self.loaded.send_replace(Some(name.to_owned()));
            self.model = Some((name.to_owned(), model));
        }
        self.model.as_ref().map(|(_, model)| model).ok_or_else(|| EngineError::Request("no embedder is loaded".into()))
    }
}
