//! What operations may change of a connection: subscriptions and the runs it started.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events::{EventBus, Subscription};
use model::{Cursor, Pattern, RunId};
use ops::{Connection, Subscribed};
use services::Services;
use services::runs::RunFollower;

/// Active patterns of one connection.
pub const PATTERNS_MAX: usize = 100;
/// Runs that a connection is remembered to have started.
const RUNS_STARTED_MAX: usize = 64;

pub struct ConnectionState {
    id: String,
    services: Arc<Services>,
    inner: Mutex<Inner>,
    /// Follow the runs that this connection starts while it has never subscribed.
    follows_own_runs: bool,
}

#[derive(Default)]
struct Inner {
    patterns: Vec<Pattern>,
    ever_subscribed: bool,
    changed: Option<Option<Subscription>>,
    subscribed: bool,
    runs_started: VecDeque<RunId>,
    followers: Vec<RunFollower>,
}

impl ConnectionState {
    pub fn new(services: Arc<Services>, follows_own_runs: bool) -> Arc<Self> {
        let id = services.ids.connection().to_string();
        Arc::new(Self { id, services, inner: Mutex::default(), follows_own_runs })
    }

    pub fn take_subscription(&self) -> Option<Option<Subscription>> {
        self.lock().changed.take()
    }

    pub fn take_followers(&self) -> Vec<RunFollower> {
        std::mem::take(&mut self.lock().followers)
    }

    pub fn ever_subscribed(&self) -> bool {
        self.lock().ever_subscribed
    }

    /// Whether a topic is wanted. `literal` demands a pattern that spells out the first segment.
    pub fn wants(&self, topic: &str, literal: bool) -> bool {
        let inner = self.lock();
        let first = topic.split('.').next().unwrap_or_default();
        inner
            .patterns
            .iter()
            .any(|pattern| pattern.matches(topic) && (!literal || pattern.as_str().split('.').next() == Some(first)))
    }

    /// Whether a pattern is exactly this topic.
    pub fn wants_exactly(&self, topic: &str) -> bool {
        self.lock().patterns.iter().any(|pattern| pattern.as_str() == topic)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bus(&self) -> &EventBus {
        &self.services.bus
    }
}

impl Connection for ConnectionState {
    fn id(&self) -> &str {
        &self.id
    }

    fn subscribe(&self, patterns: Vec<Pattern>, after: Option<Cursor>) -> Result<Subscribed, String> {
        let mut inner = self.lock();
        let mut all = inner.patterns.clone();
        for pattern in &patterns {
            if !all.contains(pattern) {
                all.push(pattern.clone());
            }
        }
        if all.len() > PATTERNS_MAX {
            return Err(format!("there would be {} active patterns; at most {PATTERNS_MAX} are kept", all.len()));
        }
        inner.patterns = all;
        inner.ever_subscribed = true;
        inner.followers.clear();
        if !inner.subscribed || after.is_some() {
            inner.subscribed = true;
            inner.changed = Some(Some(self.bus().subscribe(after)));
        }
        let cursor = after.unwrap_or_else(|| self.bus().newest());
        Ok(Subscribed { changed: texts(&patterns), active: texts(&inner.patterns), cursor })
    }

    fn unsubscribe(&self, patterns: &[String]) -> Subscribed {
        let mut inner = self.lock();
        let (gone, kept): (Vec<Pattern>, Vec<Pattern>) = std::mem::take(&mut inner.patterns)
            .into_iter()
            .partition(|pattern| patterns.iter().any(|text| text == pattern.as_str()));
        inner.patterns = kept;
        inner.ever_subscribed = true;
        if inner.patterns.is_empty() && inner.subscribed {
            inner.subscribed = false;
            inner.changed = Some(None);
        }
        Subscribed { changed: texts(&gone), active: texts(&inner.patterns), cursor: self.bus().newest() }
    }

    fn patterns(&self) -> Vec<String> {
        texts(&self.lock().patterns)
    }

    fn started(&self, run: &RunId) {
        let mut inner = self.lock();
        if inner.runs_started.contains(run) {
            // A repeated message: the run is followed already.
            return;
        }
        if inner.runs_started.len() == RUNS_STARTED_MAX {
            inner.runs_started.pop_front();
        }
        inner.runs_started.push_back(run.clone());
        if self.follows_own_runs && !inner.ever_subscribed {
            inner.followers.extend(self.services.runs.follow(run));
        }
    }

    fn runs_started(&self) -> Vec<RunId> {
        self.lock().runs_started.iter().cloned().collect()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn texts(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect()
}
