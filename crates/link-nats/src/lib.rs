//! The link between nodes over NATS.
//!
//! Plain messages on one subject: whoever is there hears them, and nobody else ever will, which is
//! all that a [`Link`] promises. JetStream, where the server has it, keeps one word: whose bus this is.
//! Works with NATS 2.9.10 and later. Read [`NatsLink`] first, then `owner.rs`.

mod address;
mod owner;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use async_trait::async_trait;
use bytes::Bytes;
use events::{Heard, Link, LinkError};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use address::{Address, BadAddress};

/// Messages that wait to be heard; when there are more, a gap is heard in their place.
const WAITING_MAX: usize = 16_384;
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Also how soon a connection is known to be dead: two of them without an answer.
const PING_EVERY: Duration = Duration::from_secs(2);
const RECONNECT_MAX: Duration = Duration::from_secs(2);
const MESSAGE_MAX: usize = 512 * 1024;

/// One connection to a NATS server, or to a cluster of them.
pub struct NatsLink {
    address: Address,
    client: OnceLock<Client>,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    closed: CancellationToken,
}

/// What the connection's own tasks know too.
#[derive(Default)]
struct Shared {
    /// The bus is known to be this cluster's.
    is_ours: AtomicBool,
    /// Something may have been missed that was not told of yet.
    has_gap: AtomicBool,
}

impl NatsLink {
    /// Connects with [`Link::open`].
    pub fn new(address: Address) -> Arc<Self> {
        Arc::new(Self {
            address,
            client: OnceLock::new(),
            shared: Arc::default(),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
        })
    }

    fn options(&self, heard: &mpsc::Sender<Heard>) -> ConnectOptions {
        let (shared, heard) = (Arc::clone(&self.shared), heard.clone());
        let told = move |event: Event| {
            let (shared, heard) = (Arc::clone(&shared), heard.clone());
            async move {
                match event {
                    Event::Connected => {
                        tracing::info!("connected to the bus");
                        gap(&shared, &heard);
                    }
                    Event::Disconnected => tracing::warn!("the bus is out of reach; nodes meet in the database"),
                    Event::SlowConsumer(_) => gap(&shared, &heard),
                    Event::ServerError(error) => tracing::warn!(%error, "the bus complains"),
                    other => tracing::debug!(event = %other, "the bus"),
                }
            }
        };
        let options = ConnectOptions::new()
            .name("patchbay")
            .no_echo()
            .connection_timeout(CONNECT_LIMIT)
            .ping_interval(PING_EVERY)
            .subscription_capacity(WAITING_MAX)
            .reconnect_delay_callback(|attempts| {
                let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
                Duration::from_millis(50).saturating_mul(attempts).min(RECONNECT_MAX)
            })
            .event_callback(told);
        self.address.credentials(options)
    }

    /// Connects now, or in the background when the server cannot be reached; a refusal is final.
    async fn connect(&self, heard: &mpsc::Sender<Heard>) -> Result<Client, LinkError> {
        match self.options(heard).connect(self.address.server()).await {
            Ok(client) => Ok(client),
            Err(error) => match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => Err(self
                    .refused("it refuses the user name and password, or the token, of `bus.url`; correct them there")),
                ConnectErrorKind::Tls => Err(self.refused(&format!("TLS failed: {error}"))),
                ConnectErrorKind::ServerParse => Err(self.refused("the address in `bus.url` is none of a NATS server")),
                _ => {
                    tracing::warn!(bus = %self.address, %error, "the bus cannot be reached; nodes meet in the database until it can");
                    let again = self.options(heard).retry_on_initial_connect();
                    let connected = again.connect(self.address.server()).await;
                    connected.map_err(|error| LinkError::Unavailable(error.to_string()))
                }
            },
        }
    }

    fn refused(&self, reason: &str) -> LinkError {
        LinkError::Refused(format!("the bus {} cannot be used: {reason}", self.address))
    }

    /// Makes sure that the bus is ours, now or as soon as it can be reached.
    async fn claim(&self, client: &Client, cluster: &str) -> Result<(), LinkError> {
        if client.connection_state() == State::Connected {
            owner::claim(client, &self.address, cluster).await?;
            self.shared.is_ours.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let (client, address, cluster) = (client.clone(), self.address.clone(), cluster.to_owned());
        let (shared, closed) = (Arc::clone(&self.shared), self.closed.clone());
        self.tasks.spawn(async move {
            let mut looks = tokio::time::interval(PING_EVERY);
            loop {
                tokio::select! {
                    () = closed.cancelled() => return,
                    _ = looks.tick() => {}
                }
                if client.connection_state() != State::Connected {
                    continue;
                }
                match owner::claim(&client, &address, &cluster).await {
                    Ok(()) => {
                        shared.is_ours.store(true, Ordering::Relaxed);
                        return;
                    }
                    Err(LinkError::Refused(reason)) => {
                        tracing::error!("{reason}");
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "it is not known yet whose bus this is"),
                }
            }
        });
        Ok(())
    }
}

/// Tells of a gap, at once or before the next message.
fn gap(shared: &Shared, heard: &mpsc::Sender<Heard>) {
    let is_full = heard.try_send(Heard::Gap).is_err();
    shared.has_gap.store(is_full, Ordering::Relaxed);
}

#[async_trait]
impl Link for NatsLink {
    async fn open(&self, cluster: &str) -> Result<mpsc::Receiver<Heard>, LinkError> {
        let (heard, receiver) = mpsc::channel(WAITING_MAX);
        let client = self.connect(&heard).await?;
        self.claim(&client, cluster).await?;
        let subscribed = client.subscribe(self.address.subject("node")).await;
        let mut messages = subscribed.map_err(|error| LinkError::Unavailable(error.to_string()))?;
        owner::answer(&client, &self.address, cluster, &self.tasks, &self.closed).await?;
        let (shared, closed) = (Arc::clone(&self.shared), self.closed.clone());
        self.tasks.spawn(async move {
            loop {
                let message = tokio::select! {
                    () = closed.cancelled() => return,
                    message = messages.next() => message,
                };
                let Some(message) = message else { return };
                if shared.has_gap.load(Ordering::Relaxed) {
                    gap(&shared, &heard);
                }
                if heard.try_send(Heard::Message(message.payload)).is_err() {
                    shared.has_gap.store(true, Ordering::Relaxed);
                }
            }
        });
        if self.client.set(client).is_err() {
            return Err(self.refused("it was opened twice"));
        }
        Ok(receiver)
    }

    async fn send(&self, message: Bytes) -> Result<(), LinkError> {
        let client = self.client.get().filter(|_| self.is_up());
        let client = client.ok_or_else(|| LinkError::Unavailable(String::from("it is not connected")))?;
        let sent = client.publish(self.address.subject("node"), message).await;
        sent.map_err(|error| LinkError::Unavailable(error.to_string()))
    }

    fn message_max(&self) -> usize {
        let server = self.client.get().map_or(MESSAGE_MAX, Client::max_payload);
        // Before the first connection nothing is known of the server.
        if server == 0 { MESSAGE_MAX } else { server.min(MESSAGE_MAX) }
    }

    fn is_up(&self) -> bool {
        let is_connected = self.client.get().is_some_and(|client| client.connection_state() == State::Connected);
        is_connected && self.shared.is_ours.load(Ordering::Relaxed)
    }

    async fn close(&self) {
        if let Some(client) = self.client.get().filter(|client| client.connection_state() == State::Connected) {
            // What was said last, a goodbye, shall be heard.
            let _ = tokio::time::timeout(CONNECT_LIMIT, client.flush()).await;
            let _ = client.drain().await;
        }
        self.closed.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn describe(&self) -> String {
        self.address.to_string()
    }
}
