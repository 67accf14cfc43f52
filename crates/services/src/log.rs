//! Joins the store's event log to the event bus.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use events::{Bounds, EventBus, Log, LogError};
use model::{Cursor, Envelope, Event, OpError, RunId};
use store::{Announce, Store, StoreError, StoredEvent};
use tokio::sync::broadcast;

use crate::cluster::Cluster;
use crate::runs::Mailboxes;

/// Events of one run that its followers may be behind before they must catch up from the text so far.
const FOLLOW_EVENTS_MAX: usize = 256;

/// Opens the bus at the end of the stored log and has the store announce to it.
pub(crate) async fn open(
    store: &Arc<dyn Store>,
    cluster: &Arc<Cluster>,
    mailboxes: &Arc<Mailboxes>,
) -> Result<(Arc<EventBus>, Arc<RunChannels>), OpError> {
    let bounds = store.read::<_, StoreError, _>(|snapshot| snapshot.events().bounds()).await?;
    let bus = Arc::new(EventBus::new(Arc::new(StoredLog(Arc::clone(store))), bounds.newest));
    let channels = Arc::new(RunChannels::default());
    store.announce_to(Arc::new(Announcer {
        bus: Arc::clone(&bus),
        channels: Arc::clone(&channels),
        cluster: Arc::clone(cluster),
        mailboxes: Arc::clone(mailboxes),
    }));
    Ok((bus, channels))
}

struct StoredLog(Arc<dyn Store>);

#[async_trait]
impl Log for StoredLog {
    async fn page(&self, after: Cursor, limit: u32) -> Result<Vec<Arc<Envelope>>, LogError> {
        let events = self.0.read::<_, StoreError, _>(move |snapshot| snapshot.events().after(after, limit)).await;
        let events = events.map_err(|error| LogError(Box::new(error)))?;
        Ok(events
            .into_iter()
            .map(|stored| Arc::new(Envelope::durable(stored.cursor, stored.at, stored.event)))
            .collect())
    }

    async fn bounds(&self) -> Result<Bounds, LogError> {
        let bounds = self.0.read::<_, StoreError, _>(|snapshot| snapshot.events().bounds()).await;
        let bounds = bounds.map_err(|error| LogError(Box::new(error)))?;
        Ok(Bounds { oldest: bounds.oldest, newest: bounds.newest })
    }
}

struct Announcer {
    bus: Arc<EventBus>,
    channels: Arc<RunChannels>,
    cluster: Arc<Cluster>,
    mailboxes: Arc<Mailboxes>,
}

impl Announce for Announcer {
    fn committed(&self, events: Vec<StoredEvent>) {
        let last = events.last().map(|stored| stored.cursor);
        let made = events.into_iter().map(|stored| Envelope::durable(stored.cursor, stored.at, stored.event));
        let own: Vec<Arc<Envelope>> = made.map(Arc::new).collect();
        self.bus.publish_envelopes(own.iter().map(Arc::clone));
        // All of them, also those that the tail of the log has read before this and will tell of later:
        // by then a run may be over and its channel closed.
        for envelope in own {
            if let Event::RunAccepted { run, .. } = &envelope.event {
                self.mailboxes.written(&run.session_key, &run.run_id, envelope.position);
            }
            self.channels.send(&envelope);
        }
        if let Some(last) = last {
            self.cluster.committed(last);
        }
        if self.bus.missing().is_some() {
            self.cluster.poke();
        }
    }
}

/// The events of single runs, for those who follow just one: an answer streamed over HTTP, or a
/// client that watches its own run. A follower costs nothing to the listeners of other runs.
#[derive(Default)]
pub(crate) struct RunChannels {
    /// Bounded: one for each unfinished run. Each channel is bounded too; a follower that falls
    /// behind is told, and catches up from the cumulative text of the next delta.
    senders: Mutex<HashMap<RunId, Followed>>,
}

struct Followed {
    sender: broadcast::Sender<Arc<Envelope>>,
    /// The last durable event that was sent. Those of a run come in order, and some of them twice.
    last: Cursor,
}

impl RunChannels {
    pub(crate) fn open(&self, run: &RunId) -> broadcast::Sender<Arc<Envelope>> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Followed { sender: broadcast::channel(FOLLOW_EVENTS_MAX).0, last: Cursor(0) };
        senders.entry(run.clone()).or_insert_with(made).sender.clone()
    }

    pub(crate) fn close(&self, run: &RunId) {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).remove(run);
    }

    pub(crate) fn send(&self, envelope: &Arc<Envelope>) {
        let Some(run) = envelope.event.run() else { return };
        if matches!(envelope.event, Event::StopAsked { .. } | Event::InputAccepted { .. }) {
            // What somebody wants of a run, at whatever node; whoever follows hears what comes of it.
            return;
        }
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(followed) = senders.get_mut(&run.run_id) else { return };
        if envelope.cursor.is_some_and(|cursor| cursor <= followed.last) {
            return;
        }
        followed.last = envelope.cursor.unwrap_or(followed.last);
        let _ = followed.sender.send(Arc::clone(envelope));
    }
}
