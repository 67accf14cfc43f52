//! The link between nodes that have nothing but their database: `NOTIFY`, and `LISTEN`.
//!
//! A message travels as the payload of a notification, on a connection of its own, so that a busy
//! writer keeps nobody from hearing. The server delivers in the order of the commits, to whoever listens then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use events::{Heard, Link, LinkError};
use futures_util::{StreamExt, stream};
use store::StoreError;
use tokio::sync::{mpsc, watch};
use tokio_postgres::{AsyncMessage, Client, Statement};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::PostgresOptions;
use crate::address::Address;
use crate::tls::MakeTls;

/// A payload is shorter than 8000 bytes.
const MESSAGE_MAX: usize = 7900;
const WAITING_MAX: usize = 16_384;
const CHANNEL: &str = "patchbay_nodes";
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A connection that says and hears what is new.
pub struct NotifyLink {
    address: Address,
    voice: watch::Sender<Option<Voice>>,
    is_up: Arc<AtomicBool>,
    tasks: TaskTracker,
    closed: CancellationToken,
}

/// The present connection, as long as it lasts.
#[derive(Clone)]
struct Voice {
    client: Arc<Client>,
    notify: Statement,
}

impl NotifyLink {
    /// Connects with [`Link::open`], to the database at `url`.
    pub fn new(url: &str) -> Result<Arc<Self>, StoreError> {
        Ok(Arc::new(Self {
            address: Address::parse(url, &PostgresOptions::default())?,
            voice: watch::Sender::new(None),
            is_up: Arc::default(),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
        }))
    }
}

/// Connects again and again, and hears until the connection ends.
struct Ear {
    address: Address,
    voice: watch::Sender<Option<Voice>>,
    is_up: Arc<AtomicBool>,
    heard: mpsc::Sender<Heard>,
    has_gap: bool,
}

impl Ear {
    async fn listen(mut self) {
        let mut wait = WAIT_MIN;
        loop {
            match self.once().await {
                Ok(()) => wait = WAIT_MIN,
                Err(error) => {
                    tracing::debug!(error = %error, "no notifications from the database");
                    wait = (wait * 2).min(WAIT_MAX);
                }
            }
            self.is_up.store(false, Ordering::Relaxed);
            self.voice.send_replace(None);
            tokio::time::sleep(wait).await;
        }
    }

    /// One connection, from its beginning to its end.
    async fn once(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (client, mut connection) = self.address.config.connect(MakeTls::new(&self.address.trust)?).await?;
        let mut messages = stream::poll_fn(|context| connection.poll_message(context));
        let client = Arc::new(client);
        let begin = async {
            client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
            client.prepare(&format!("SELECT pg_notify('{CHANNEL}', $1)")).await
        };
        tokio::pin!(begin);
        let notify = loop {
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    Some(message) => self.take(message?),
                    None => return Ok(()),
                },
                notify = &mut begin => break notify?,
            }
        };
        self.voice.send_replace(Some(Voice { client: Arc::clone(&client), notify }));
        self.is_up.store(true, Ordering::Relaxed);
        self.gap();
        while let Some(message) = messages.next().await {
            self.take(message?);
        }
        Ok(())
    }

    fn take(&mut self, message: AsyncMessage) {
        let AsyncMessage::Notification(notification) = message else { return };
        if self.has_gap {
            self.gap();
        }
        let bytes = Bytes::copy_from_slice(notification.payload().as_bytes());
        if self.heard.try_send(Heard::Message(bytes)).is_err() {
            self.has_gap = true;
        }
    }

    /// Tells of a gap, at once or before the next message.
    fn gap(&mut self) {
        self.has_gap = self.heard.try_send(Heard::Gap).is_err();
    }
}

#[async_trait]
impl Link for NotifyLink {
    /// A database is no other cluster's: whose it is, it says itself.
    async fn open(&self, _: &str) -> Result<mpsc::Receiver<Heard>, LinkError> {
        let (heard, receiver) = mpsc::channel(WAITING_MAX);
        let (address, voice, is_up) = (self.address.clone(), self.voice.clone(), Arc::clone(&self.is_up));
        let ear = Ear { address, voice, is_up, heard, has_gap: false };
        let closed = self.closed.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = ear.listen() => {}
            }
        });
        Ok(receiver)
    }

    async fn send(&self, message: Bytes) -> Result<(), LinkError> {
        let away = |reason: String| LinkError::Unavailable(reason);
        let voice = self.voice.borrow().clone();
        let voice = voice.filter(|_| !self.closed.is_cancelled());
        let voice = voice.ok_or_else(|| away(String::from("the database is not connected")))?;
        let text = std::str::from_utf8(&message).map_err(|error| away(error.to_string()))?;
        let sent = tokio::time::timeout(ANSWER_LIMIT, voice.client.execute(&voice.notify, &[&text])).await;
        match sent {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(away(error.to_string())),
            Err(_) => Err(away(String::from("the database does not answer"))),
        }
    }

    fn message_max(&self) -> usize {
        MESSAGE_MAX
    }

    fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed) && !self.closed.is_cancelled()
    }

    async fn close(&self) {
        self.closed.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn describe(&self) -> String {
        format!("notifications of {}", self.address.shown())
    }
}
