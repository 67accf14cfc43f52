//! The side of the process that serves.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::SOCKET;
use super::wire::{FromNew, FromOld, Link, OfferedListener};
use crate::home::Home;

/// How long whoever comes gets to introduce itself.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// How long the new process gets to say that it accepts, once it may.
const SERVING_LIMIT: Duration = Duration::from_secs(5);
/// The longest wait that a new process may ask for.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// What a successor gets.
pub struct Offer {
    pub schema: u32,
    pub listeners: Vec<(OfferedListener, OwnedFd)>,
    pub from_flags: bool,
}

impl Offer {
    /// Of the listeners of this process.
    pub fn of(bound: &[server::Bound], from_flags: bool, schema: u32) -> io::Result<Offer> {
        let listeners: io::Result<Vec<_>> = bound
            .iter()
            .map(|bound| {
                let listener =
                    OfferedListener { dialect: bound.dialect, address: bound.address, has_tls: bound.has_tls };
                Ok((listener, bound.socket().try_clone_to_owned()?))
            })
            .collect();
        Ok(Offer { schema, listeners: listeners?, from_flags })
    }
}

/// Where a successor comes to. One at a time is dealt with; others are refused.
pub struct Desk {
    path: PathBuf,
    /// Of the socket file, so that a successor's own file is left alone.
    inode: u64,
    candidates: mpsc::Receiver<Candidate>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// A successor that is prepared.
pub struct Candidate {
    link: Link,
    pub pid: u32,
    pub version: String,
    pub timeout: Duration,
    /// How long answers that are being given may go on; `None` = as configured.
    pub drain: Option<Duration>,
    _place: OwnedSemaphorePermit,
}

/// What became of a handover.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new process serves.
    Replaced,
    /// It does not, and never will; why.
    GivenUp(String),
}

/// What a meeting needs to know.
struct Host {
    offer: Offer,
    places: Arc<Semaphore>,
    prepared: mpsc::Sender<Candidate>,
    closing: CancellationToken,
}

impl Desk {
    /// Puts the socket into the home, over one that a former process left.
    pub fn open(home: &Home, offer: Offer) -> io::Result<Desk> {
        let path = home.path().join(SOCKET);
        let new = path.with_extension("new");
        // Left by a process that died between the next two steps; whether there was one is all the same.
        let _ = std::fs::remove_file(&new);
        let listener = UnixListener::bind(&new)?;
        std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        let inode = std::fs::metadata(&new)?.ino();
        std::fs::rename(&new, &path)?;
        // One place, one candidate: the queue is never full.
        let (prepared, candidates) = mpsc::channel(1);
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let host = Host { offer, places: Arc::new(Semaphore::new(1)), prepared, closing: closing.clone() };
        tasks.spawn(attend(listener, Arc::new(host), tasks.clone()));
        Ok(Desk { path, inode, candidates, closing, tasks })
    }

    /// The next successor that is prepared. Cancel safe.
    pub async fn next(&mut self) -> Candidate {
        match self.candidates.recv().await {
            Some(candidate) => candidate,
            None => std::future::pending().await,
        }
    }

    /// Takes the socket away, if it is still this process's.
    pub async fn close(self) {
        if std::fs::metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // A file that stays is known to be of a dead process by the next one.
            let _ = std::fs::remove_file(&self.path);
        }
        self.closing.cancel();
        self.tasks.close();
        let mut candidates = self.candidates;
        candidates.close();
        while let Some(mut candidate) = candidates.recv().await {
            candidate.withdraw("the gateway is stopping").await;
        }
        self.tasks.wait().await;
    }
}

async fn attend(listener: UnixListener, host: Arc<Host>, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = host.closing.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let host = Arc::clone(&host);
                tasks.spawn(async move { host.receive(stream).await });
            }
            Err(error) => {
                tracing::warn!(%error, "nobody can come to replace this gateway at the moment");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

impl Host {
    async fn receive(&self, stream: UnixStream) {
        if let Err(error) = is_allowed(&stream) {
            tracing::warn!(%error, "somebody came to replace this gateway and was let go");
            return;
        }
        let mut link = Link::new(stream);
        let met = tokio::select! {
            () = self.closing.cancelled() => {
                withdraw(&mut link, "the gateway is stopping").await;
                return;
            }
            met = self.meet(&mut link) => met,
        };
        match met {
            Ok(Some(met)) => {
                if let Err(mpsc::error::SendError(mut candidate)) = self.prepared.send(met.with(link)).await {
                    candidate.withdraw("the gateway is stopping").await;
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "somebody came to replace this gateway and was let go"),
        }
    }

    /// From the greeting to the moment when the successor waits for the store.
    async fn meet(&self, link: &mut Link) -> io::Result<Option<Met>> {
        let hello = tokio::time::timeout(HELLO_LIMIT, link.receive()).await??;
        // Without a word: it only looked whether somebody is here.
        let Some(hello) = hello else { return Ok(None) };
        let FromNew::Hello { version, pid, timeout_ms, drain_ms } = hello else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not introduce itself"));
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let reason = String::from("another replacement is under way");
            link.send(&FromOld::Refused { reason }).await?;
            return Ok(None);
        };
        let pid = link.stream().peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(pid);
        let timeout = Duration::from_millis(timeout_ms).min(TIMEOUT_MAX);
        let offer = FromOld::Offer {
            version: String::from(env!("CARGO_PKG_VERSION")),
            pid: std::process::id(),
            schema: self.offer.schema,
            listeners: self.offer.listeners.iter().map(|(listener, _)| *listener).collect(),
            from_flags: self.offer.from_flags,
        };
        let sockets: Vec<_> = self.offer.listeners.iter().map(|(_, socket)| socket.as_fd()).collect();
        link.send_with(&offer, &sockets).await?;
        match tokio::time::timeout(timeout, link.receive::<FromNew>()).await {
            Ok(Ok(Some(FromNew::Prepared))) => {
                let drain = drain_ms.map(Duration::from_millis);
                return Ok(Some(Met { pid, version, timeout, drain, place }));
            }
            Ok(Ok(Some(FromNew::Failed { reason }))) => {
                tracing::warn!(pid, reason, "a replacement was not ready; this gateway goes on");
            }
            Ok(Ok(_)) => tracing::warn!(pid, "a replacement went away before it was ready; this gateway goes on"),
            Ok(Err(error)) => {
                withdraw(link, &format!("it cannot be understood: {error}")).await;
                return Err(error);
            }
            Err(_) => {
                tracing::warn!(pid, ?timeout, "a replacement was not prepared in time; this gateway goes on");
                withdraw(link, &format!("it was not prepared within {timeout:?}")).await;
            }
        }
        Ok(None)
    }
}

/// Only the same user, or root, may take the sockets.
fn is_allowed(stream: &UnixStream) -> io::Result<()> {
    let (peer, own) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
    if peer == own || peer == 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it runs as user {peer}")))
}

async fn withdraw(link: &mut Link, reason: &str) {
    // Who is gone need not be told.
    let _ = link.send(&FromOld::Withdrawn { reason: reason.to_owned() }).await;
}

/// A successor that is prepared, without the connection to it.
struct Met {
    pid: u32,
    version: String,
    timeout: Duration,
    drain: Option<Duration>,
    place: OwnedSemaphorePermit,
}

impl Met {
    fn with(self, link: Link) -> Candidate {
        let Self { pid, version, timeout, drain, place } = self;
        Candidate { link, pid, version, timeout, drain, _place: place }
    }
}

impl Candidate {
    /// Says that the store is free and waits until the successor serves. `promise` is called when the
    /// successor is ready, before it may go.
    pub async fn release(&mut self, promise: impl FnOnce(u32)) -> Outcome {
        if let Err(error) = self.link.send(&FromOld::Released).await {
            return Outcome::GivenUp(format!("it cannot be reached: {error}"));
        }
        let reason = match tokio::time::timeout(self.timeout, self.link.receive::<FromNew>()).await {
            Ok(Ok(Some(FromNew::Ready))) => {
                promise(self.pid);
                return match self.link.send(&FromOld::Go).await {
                    Ok(()) => self.wait_for_serving().await,
                    Err(error) => Outcome::GivenUp(format!("it went away when it was ready: {error}")),
                };
            }
            Ok(Ok(Some(FromNew::Failed { reason }))) => return Outcome::GivenUp(reason),
            Ok(Ok(Some(other))) => format!("it said {other:?} instead of being ready"),
            Ok(Ok(None)) => return Outcome::GivenUp(String::from("it ended before it was ready")),
            Ok(Err(error)) => format!("it cannot be understood: {error}"),
            Err(_) => format!("it was not ready within {:?}", self.timeout),
        };
        self.withdraw(&reason).await;
        Outcome::GivenUp(reason)
    }

    async fn wait_for_serving(&mut self) -> Outcome {
        match tokio::time::timeout(SERVING_LIMIT, self.link.receive::<FromNew>()).await {
            Ok(Ok(Some(FromNew::Failed { reason }))) => Outcome::GivenUp(reason),
            Ok(Ok(None)) => Outcome::GivenUp(String::from("it ended when it was to serve")),
            // It may serve, so this process must not: two would be worse than none.
            Ok(Ok(Some(_)) | Err(_)) | Err(_) => Outcome::Replaced,
        }
    }

    /// Takes the offer back. The successor must not serve any more.
    pub async fn withdraw(&mut self, reason: &str) {
        withdraw(&mut self.link, reason).await;
    }
}
