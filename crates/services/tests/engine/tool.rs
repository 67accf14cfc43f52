//! A tool that works for as long as a test lets it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::watch;
use tools::{Tool, ToolContext, ToolError, ToolOutput};

/// What a [`Work`] does when its run is cancelled, and after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Ends when it is cancelled.
    Heeding,
    /// Works on when it is cancelled.
    Stubborn,
    /// Ends when it is cancelled, and may be run twice.
    Repeatable,
}

/// The tool `work`. Clones are the same tool.
#[derive(Clone)]
pub struct Work {
    nature: Nature,
    is_open: Arc<watch::Sender<bool>>,
    begun: Arc<watch::Sender<usize>>,
    cancelled: Arc<watch::Sender<usize>>,
}

impl Work {
    pub fn new(nature: Nature) -> Self {
        Self {
            nature,
            is_open: Arc::new(watch::Sender::new(false)),
            begun: Arc::new(watch::Sender::new(0)),
            cancelled: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Lets every call end, those that come later too.
    pub fn finish(&self) {
        self.is_open.send_replace(true);
    }

    async fn finished(&self) {
        // The sender lives in `self`, so it cannot go away while we wait.
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await;
    }

    pub fn calls(&self) -> usize {
        *self.begun.borrow()
    }

    /// Returns once so many calls have begun.
    pub async fn begun(&self, count: usize) {
        testkit::soon("a call of the tool", async {
            let _ = self.begun.subscribe().wait_for(|begun| *begun >= count).await;
        })
        .await;
    }

    /// Returns once a call has seen that its run is cancelled.
    pub async fn saw_cancel(&self) {
        testkit::soon("a cancelled call of the tool", async {
            let _ = self.cancelled.subscribe().wait_for(|cancelled| *cancelled >= 1).await;
        })
        .await;
    }
}

#[async_trait]
impl Tool for Work {
    fn name(&self) -> &'static str {
        "work"
    }

    fn description(&self) -> &'static str {
        "Works for as long as a test lets it."
    }

    fn parameters(&self) -> Value {
        json!({ "type": "object", "properties": {} })
    }

    fn is_repeatable(&self) -> bool {
        self.nature == Nature::Repeatable
    }

    async fn call(&self, context: &ToolContext, _: Value) -> Result<ToolOutput, ToolError> {
        self.begun.send_modify(|count| *count += 1);
        let was_cancelled = tokio::select! {
            biased;
            () = context.cancel.cancelled() => true,
            () = self.finished() => false,
        };
        if was_cancelled {
            self.cancelled.send_modify(|count| *count += 1);
            if self.nature != Nature::Stubborn {
                return Err(ToolError::Cancelled);
            }
            self.finished().await;
        }
        Ok(ToolOutput { text: String::from("worked") })
    }
}
