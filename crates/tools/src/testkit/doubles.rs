//! A workspace, a user and a search for tests.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use model::{AgentId, FixedClock, RunId, SessionKey};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::context::{AskUser, SearchHit, SessionSearch, ToolContext};
use crate::tool::ToolError;

/// Monday, 2026-05-04T10:00:00Z.
pub const BENCH_TIME_MS: i64 = 1_777_888_800_000;

/// An empty temporary workspace with everything that a tool's context needs.
pub struct Bench {
    folder: tempfile::TempDir,
    pub clock: Arc<FixedClock>,
    pub user: Arc<ScriptedUser>,
    pub search: Arc<ScriptedSearch>,
    pub cancel: CancellationToken,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// # Panics
    /// When the system gives no temporary folder.
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            clock: Arc::new(FixedClock::at(BENCH_TIME_MS)),
            user: Arc::default(),
            search: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }

    /// The workspace; lies inside of [`Bench::around`].
    pub fn workspace(&self) -> std::path::PathBuf {
        self.folder.path().join("workspace")
    }

    /// A folder that holds the workspace and is not part of it.
    pub fn around(&self) -> &Path {
        self.folder.path()
    }

    pub fn context(&self) -> ToolContext {
        ToolContext {
            agent: AgentId::main(),
            session: SessionKey::main(&AgentId::main()),
            run: RunId::trusted("run_test"),
            workspace: self.workspace(),
            node: None,
            cancel: self.cancel.clone(),
            clock: Arc::clone(&self.clock) as _,
            user: Arc::clone(&self.user) as _,
            sessions: Arc::clone(&self.search) as _,
        }
    }
}

/// Gives the scripted answers in order, then waits for ever.
#[derive(Default)]
pub struct ScriptedUser {
    answers: Mutex<VecDeque<String>>,
    asked: Mutex<Vec<(String, Vec<String>)>>,
    arrived: Notify,
}

impl ScriptedUser {
    pub fn answer(&self, text: impl Into<String>) {
        lock(&self.answers).push_back(text.into());
    }

    /// Questions and options so far.
    pub fn asked(&self) -> Vec<(String, Vec<String>)> {
        lock(&self.asked).clone()
    }

    /// Returns once a question has come that nobody waited for yet.
    pub async fn next_question(&self) {
        self.arrived.notified().await;
    }
}

#[async_trait]
impl AskUser for ScriptedUser {
    async fn ask(&self, _run: &RunId, prompt: &str, options: &[String]) -> Result<String, ToolError> {
        lock(&self.asked).push((prompt.to_owned(), options.to_vec()));
        self.arrived.notify_one();
        let answer = lock(&self.answers).pop_front();
        match answer {
            Some(text) => Ok(text),
            None => std::future::pending().await,
        }
    }
}

/// Gives the scripted hits in order of calls, then none.
#[derive(Default)]
pub struct ScriptedSearch {
    answers: Mutex<VecDeque<Vec<SearchHit>>>,
    searched: Mutex<Vec<(AgentId, String, u32)>>,
}

impl ScriptedSearch {
    pub fn answer(&self, hits: Vec<SearchHit>) {
        lock(&self.answers).push_back(hits);
    }

    pub fn searched(&self) -> Vec<(AgentId, String, u32)> {
        lock(&self.searched).clone()
    }
}

#[async_trait]
impl SessionSearch for ScriptedSearch {
    async fn search(&self, agent: &AgentId, text: &str, limit: u32) -> Result<Vec<SearchHit>, ToolError> {
        lock(&self.searched).push((agent.clone(), text.to_owned(), limit));
        Ok(lock(&self.answers).pop_front().unwrap_or_default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
