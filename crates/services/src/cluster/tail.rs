//! Following the log to its end, and the other nodes meanwhile.
//!
//! One task does both, so that what another node says is heard behind the events that it follows.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use events::{EventBus, Heard};
use model::{Cursor, Envelope, Fence, OpError, RunId};
use store::{Store, StoreError, StoredEvent};
use tokio::sync::mpsc;

use super::Cluster;
use super::wire::{Item, Message, RemoteText};
use crate::lifecycle::Lifecycle;
use crate::log::RunChannels;

/// Events read at a time.
const PAGE: u32 = 512;
/// How often the log is looked at while the link tells of what is new.
const LOOK_SELDOM: Duration = Duration::from_secs(1);
/// How often it is looked at while nobody tells.
const LOOK_OFTEN: Duration = Duration::from_millis(100);
/// Wait after the log could not be read.
const RETRY: Duration = Duration::from_millis(200);

/// Who is told of what other nodes did.
#[async_trait]
pub(crate) trait Remote: Send + Sync {
    /// An event that this node has not written, in the order of the log.
    async fn happened(&self, envelope: &Arc<Envelope>) -> Result<(), OpError>;
    /// A piece of the text of a run that another node drives; behind its position in the log.
    fn text(&self, from: Fence, text: RemoteText);
    /// The client of a run that was accepted elsewhere has its answer.
    fn go(&self, run: &RunId);
    /// Another node lacks the beginning of a text.
    fn asked(&self, run: &RunId);
}

pub(crate) struct Tail {
    pub cluster: Arc<Cluster>,
    pub store: Arc<dyn Store>,
    pub bus: Arc<EventBus>,
    pub channels: Arc<RunChannels>,
    pub remote: Arc<dyn Remote>,
}

impl Cluster {
    /// Begins to follow the other nodes; nothing to do for a node that has its database alone.
    pub(crate) fn follow(self: &Arc<Self>, tail: Tail, lifecycle: &Lifecycle) {
        if !self.is_shared() {
            return;
        }
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(link) = self.link.clone() {
            let (cluster, stopped) = (Arc::clone(self), lifecycle.stopping().clone());
            lifecycle.spawn(async move {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    never = cluster.outbox.send_all(&link) => match never {},
                }
            });
        }
        let stopped = lifecycle.stopping().clone();
        lifecycle.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = tail.run(heard) => {}
            }
        });
    }
}

impl Tail {
    async fn run(self, mut heard: Option<mpsc::Receiver<Heard>>) {
        loop {
            let is_told = heard.is_some() && self.cluster.link.as_ref().is_some_and(|link| link.is_up());
            let pause = if is_told { LOOK_SELDOM } else { LOOK_OFTEN };
            tokio::select! {
                () = self.cluster.poked.notified() => self.catch_up().await,
                () = tokio::time::sleep(pause) => self.look().await,
                message = next(&mut heard) => match message {
                    Some(Heard::Message(bytes)) => self.hear(&bytes).await,
                    Some(Heard::Gap) => self.look().await,
                    None => heard = None,
                },
            }
        }
    }

    async fn hear(&self, bytes: &Bytes) {
        let message: Message = match serde_json::from_slice(bytes) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, bytes = bytes.len(), "a message on the bus is none of ours");
                return;
            }
        };
        if message.cluster != self.cluster.id() || message.from == self.cluster.me() {
            return;
        }
        metrics::counter!("patchbay_bus_messages_total", "direction" => "in").increment(1);
        for item in message.items {
            match item {
                Item::Log { cursor } => {
                    self.bus.note_committed(cursor);
                    self.catch_up().await;
                }
                Item::Text(text) => {
                    self.bus.note_committed(text.position);
                    self.catch_up().await;
                    self.remote.text(message.from, text);
                }
                Item::Go { run } => {
                    // Its acceptance may be in the log and not have been read yet.
                    self.look().await;
                    self.remote.go(&run);
                }
                Item::Ask { run } => self.remote.asked(&run),
            }
        }
    }

    /// Publishes what is known to be missing.
    async fn catch_up(&self) {
        while let Some(after) = self.bus.missing() {
            self.read(after).await;
        }
    }

    /// Publishes what is new, told of or not.
    async fn look(&self) {
        let after = self.bus.newest();
        match self.page(after).await {
            Ok(page) => {
                self.publish(page).await;
                self.catch_up().await;
            }
            Err(error) => tracing::debug!(%error, "the log could not be looked at"),
        }
    }

    async fn read(&self, after: Cursor) {
        match self.page(after).await {
            Ok(page) if page.is_empty() => self.pass_over(after).await,
            Ok(page) => self.publish(page).await,
            Err(error) => {
                tracing::warn!(%error, "the log cannot be read just now; events of other nodes wait");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn page(&self, after: Cursor) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.read::<_, StoreError, _>(move |snapshot| snapshot.events().after(after, PAGE)).await
    }

    /// What is missing was removed from the log before this node could read it.
    async fn pass_over(&self, after: Cursor) {
        match self.store.read::<_, StoreError, _>(|snapshot| snapshot.events().bounds()).await {
            Ok(bounds) if bounds.newest > after => {
                tracing::warn!(after = after.0, newest = bounds.newest.0, "events were removed before they were read");
                self.bus.skip_to(Cursor(bounds.oldest.0 - 1));
            }
            // Told of before it can be seen: a replica, or a message that was made up.
            Ok(_) | Err(_) => tokio::time::sleep(RETRY).await,
        }
    }

    async fn publish(&self, page: Vec<StoredEvent>) {
        // This node knows of a change before any of its clients does.
        let new = self.bus.stage(page.into_iter().map(|stored| (stored.cursor, stored.at, stored.event)));
        for envelope in new {
            self.channels.send(&envelope);
            while let Err(error) = self.remote.happened(&envelope).await {
                tracing::warn!(%error, cursor = ?envelope.cursor, "what another node did cannot be followed just now");
                tokio::time::sleep(RETRY).await;
            }
        }
        self.bus.release();
    }
}

/// The next message; forever when there is no link.
async fn next(heard: &mut Option<mpsc::Receiver<Heard>>) -> Option<Heard> {
    match heard {
        Some(heard) => heard.recv().await,
        None => std::future::pending().await,
    }
}
