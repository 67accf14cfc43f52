//! The side of the process that takes over.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use server::Inherited;
use server::settings::ListenSettings;
use tokio::net::UnixStream;

use super::SOCKET;
use super::wire::{FromNew, FromOld, Link, OfferedListener};
use crate::home::Home;

/// How long the running gateway gets to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// What the running gateway may take for its end besides the drain that was asked for.
const RELEASE_SLACK: Duration = Duration::from_secs(30);
/// The drain that is reckoned with when the running gateway's own setting counts.
const DRAIN_ASSUMED: Duration = Duration::from_secs(300);

/// How long the running gateway is to wait.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// For us to be prepared, and to be ready.
    pub timeout: Duration,
    /// For answers that are being given; `None` = as it is configured.
    pub drain: Option<Duration>,
}

/// A process that has the listening sockets of the running one and does not serve yet.
pub struct Successor {
    link: Link,
    terms: Terms,
    /// Version of the database's schema that the running program knows.
    pub schema: u32,
    pub pid: u32,
    listeners: Vec<OfferedListener>,
    sockets: Vec<Inherited>,
    from_flags: bool,
}

/// Whether a gateway runs on the home that could be replaced.
pub async fn is_attended(home: &Home) -> bool {
    UnixStream::connect(home.path().join(SOCKET)).await.is_ok()
}

impl Successor {
    /// Asks the gateway that runs on the home for its sockets; `None` when none runs. Nothing has
    /// changed for anybody when this returns.
    pub async fn ask(home: &Home, terms: Terms) -> anyhow::Result<Option<Successor>> {
        let path = home.path().join(SOCKET);
        let stream = match UnixStream::connect(&path).await {
            Ok(stream) => stream,
            // The second is a file that a dead process left.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot connect to {}", path.display())),
        };
        let mut link = Link::new(stream);
        let hello = FromNew::Hello {
            version: String::from(env!("CARGO_PKG_VERSION")),
            pid: std::process::id(),
            timeout_ms: u64::try_from(terms.timeout.as_millis()).unwrap_or(u64::MAX),
            drain_ms: terms.drain.map(|drain| u64::try_from(drain.as_millis()).unwrap_or(u64::MAX)),
        };
        link.send(&hello).await.context("the running gateway does not listen")?;
        let answer = tokio::time::timeout(ANSWER_LIMIT, link.receive::<FromOld>())
            .await
            .map_err(|_| anyhow!("the running gateway did not answer within {ANSWER_LIMIT:?}"))?
            .context("the running gateway cannot be understood")?;
        match answer {
            Some(FromOld::Offer { pid, schema, listeners, from_flags, .. }) => {
                let sockets = link.take_sockets();
                if sockets.len() != listeners.len() {
                    bail!("the running gateway offers {} listeners and {} sockets", listeners.len(), sockets.len());
                }
                let inherited = |(listener, socket): (&OfferedListener, _)| Inherited {
                    listener: TcpListener::from(socket),
                    dialect: Some(listener.dialect),
                    decides_address: false,
                };
                let sockets = listeners.iter().zip(sockets).map(inherited).collect();
                Ok(Some(Successor { link, terms, schema, pid, listeners, sockets, from_flags }))
            }
            Some(FromOld::Refused { reason } | FromOld::Withdrawn { reason }) => {
                bail!("the running gateway refuses: {reason}")
            }
            Some(other) => bail!("the running gateway answers {other:?} instead of an offer"),
            None => bail!("the running gateway went away"),
        }
    }

    /// The listeners of the running gateway, when they come from its command line: whoever replaces it
    /// without naming some of its own keeps them.
    pub fn kept_listeners(&self) -> Option<Vec<ListenSettings>> {
        let keep = |listener: &OfferedListener| ListenSettings {
            dialect: listener.dialect,
            address: listener.address,
            tls: None,
        };
        self.from_flags.then(|| self.listeners.iter().map(keep).collect())
    }

    pub fn take_sockets(&mut self) -> Vec<Inherited> {
        std::mem::take(&mut self.sockets)
    }

    /// Says that all is checked that needs no store, and waits until the store is free.
    pub async fn prepared(&mut self) -> anyhow::Result<()> {
        let limit = self.terms.drain.unwrap_or(DRAIN_ASSUMED) + RELEASE_SLACK;
        self.say_and_wait(&FromNew::Prepared, limit, &FromOld::Released).await
    }

    /// Says that this process could serve, and waits until it may.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        self.say_and_wait(&FromNew::Ready, ANSWER_LIMIT, &FromOld::Go).await
    }

    async fn say_and_wait(&mut self, said: &FromNew, limit: Duration, wanted: &FromOld) -> anyhow::Result<()> {
        // That nobody listens shows with the answer.
        let _ = self.link.send(said).await;
        match tokio::time::timeout(limit, self.link.receive::<FromOld>()).await {
            Ok(Ok(Some(answer))) if answer == *wanted => Ok(()),
            Ok(Ok(Some(FromOld::Withdrawn { reason }))) => {
                bail!("the running gateway took its offer back: {reason}")
            }
            Ok(Ok(Some(other))) => bail!("the running gateway said {other:?} instead of {wanted:?}"),
            // It takes an offer back in words only, so its process is gone, and somebody must serve.
            Ok(Ok(None)) => {
                tracing::warn!(pid = self.pid, "the running gateway is gone; taking over all the same");
                Ok(())
            }
            Ok(Err(error)) => Err(error).context("the running gateway cannot be understood"),
            Err(_) => bail!("the running gateway did not say {wanted:?} within {limit:?}"),
        }
    }

    /// Lets the old process end.
    pub async fn serving(mut self) {
        // It ends anyway, a little later.
        let _ = self.link.send(&FromNew::Serving).await;
    }

    /// Lets the old process go on.
    pub async fn failed(mut self, reason: &str) {
        // The end of the connection says the same, with fewer words.
        let _ = self.link.send(&FromNew::Failed { reason: reason.to_owned() }).await;
    }
}
