//! Several nodes in one test: a database that they share, and a link between them that can be cut.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use events::{Heard, Link, LinkError};
use model::{Cursor, Fence};
use store::{Announce, Outcome, ReadJob, Store, StoreError, StoredEvent, Tx, WriteJob};
use store_sqlite::{Durability, SqliteOptions, SqliteStore};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Messages that wait for a node; a slower one hears a gap.
const WAITING_MAX: usize = 4096;

/// One database for several nodes. A real one, so that what holds for its single writer holds here:
/// units of work of all nodes run one after another.
pub struct SharedDatabase {
    inner: Arc<dyn Store>,
    _folder: TempDir,
}

impl SharedDatabase {
    /// # Panics
    /// When the temporary database cannot be made.
    pub fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let options = SqliteOptions { durability: Durability::Normal, ..SqliteOptions::default() };
        let opened = SqliteStore::open(folder.path().join("shared.db"), options).expect("the database opens");
        Arc::new(Self { inner: Arc::new(opened), _folder: folder })
    }

    /// The database as one node sees it.
    pub fn open(self: &Arc<Self>) -> Arc<NodeStore> {
        Arc::new(NodeStore {
            database: Arc::clone(self),
            fence: OnceLock::new(),
            listener: OnceLock::new(),
            is_closed: AtomicBool::new(false),
        })
    }
}

/// A node's handle; refuses what a removed node writes, and announces what its own units appended.
pub struct NodeStore {
    database: Arc<SharedDatabase>,
    fence: OnceLock<Fence>,
    listener: OnceLock<Arc<dyn Announce>>,
    is_closed: AtomicBool,
}

impl NodeStore {
    fn may_write(&self, tx: &dyn Tx) -> Result<(), StoreError> {
        match self.fence.get() {
            Some(me) if !tx.nodes().list()?.iter().any(|node| node.fence == *me) => Err(StoreError::FencedOff),
            _ => Ok(()),
        }
    }
}

/// Runs the job and gives what it appended beside its outcome.
fn with_events(tx: &dyn Tx, job: WriteJob) -> Result<(Outcome, Vec<StoredEvent>), StoreError> {
    let before = tx.events().bounds()?.newest;
    let outcome = job(Ok(tx));
    let appended = match outcome {
        Outcome::Commit(_) => tx.events().after(before, u32::MAX)?,
        Outcome::Rollback(_) => Vec::new(),
    };
    Ok((outcome, appended))
}

#[async_trait]
impl Store for NodeStore {
    async fn submit(&self, job: WriteJob) {
        let is_closed = self.is_closed.load(Ordering::SeqCst);
        let (fence, listener) = (self.fence.get().copied(), self.listener.get().cloned());
        let check = NodeStore {
            database: Arc::clone(&self.database),
            fence: fence.map_or_else(OnceLock::new, OnceLock::from),
            listener: OnceLock::new(),
            is_closed: AtomicBool::new(false),
        };
        let wrapped: WriteJob = Box::new(move |tx| {
            let tx = match tx {
                Ok(_) if is_closed => return job(Err(StoreError::Unavailable(String::from("it is closed")))),
                Ok(tx) => tx,
                Err(error) => return job(Err(error)),
            };
            if let Err(error) = check.may_write(tx) {
                let fenced = matches!(error, StoreError::FencedOff);
                return match job(Err(error)) {
                    Outcome::Commit(finish) | Outcome::Rollback(finish) if fenced => {
                        Outcome::Rollback(Box::new(move |_| finish(Err(StoreError::FencedOff))))
                    }
                    outcome => outcome,
                };
            }
            match with_events(tx, job) {
                Ok((Outcome::Commit(finish), appended)) => Outcome::Commit(Box::new(move |committed| {
                    if committed.is_ok() && !appended.is_empty() {
                        listener.iter().for_each(|listener| listener.committed(appended.clone()));
                    }
                    finish(committed);
                })),
                Ok((rollback, _)) => rollback,
                Err(error) => panic!("the log of the shared database cannot be read: {error}"),
            }
        });
        self.database.inner.submit(wrapped).await;
    }

    async fn submit_read(&self, job: ReadJob) {
        self.database.inner.submit_read(job).await;
    }

    fn announce_to(&self, listener: Arc<dyn Announce>) {
        assert!(self.listener.set(listener).is_ok(), "a node names one listener");
    }

    fn write_as(&self, fence: Fence) {
        assert!(self.fence.set(fence).is_ok(), "a node writes as one life of it");
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    fn describe(&self) -> String {
        String::from("shared")
    }
}

/// Links between the nodes of one test.
#[derive(Default)]
pub struct Hub {
    nodes: Mutex<BTreeMap<String, Node>>,
}

struct Node {
    sender: mpsc::Sender<Heard>,
    is_cut: bool,
}

impl Hub {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A node's end. A second one of the same name takes its place.
    pub fn link(self: &Arc<Self>, name: &str) -> Arc<dyn Link> {
        Arc::new(HubLink { hub: Arc::clone(self), name: name.to_owned() })
    }

    /// From now on a node hears nobody, and nobody hears it.
    ///
    /// # Panics
    /// When it is not linked.
    pub fn cut(&self, name: &str, is_cut: bool) {
        let mut nodes = self.lock();
        let node = nodes.get_mut(name).expect("the node is linked");
        node.is_cut = is_cut;
        if !is_cut {
            let _ = node.sender.try_send(Heard::Gap);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct HubLink {
    hub: Arc<Hub>,
    name: String,
}

#[async_trait]
impl Link for HubLink {
    async fn send(&self, message: Bytes) -> Result<(), LinkError> {
        let nodes = self.hub.lock();
        if nodes.get(&self.name).is_none_or(|node| node.is_cut) {
            return Err(LinkError::Unavailable(String::from("a test cut it")));
        }
        for (_, node) in nodes.iter().filter(|(name, node)| **name != self.name && !node.is_cut) {
            // Best effort, like a real one.
            let _ = node.sender.try_send(Heard::Message(message.clone()));
        }
        Ok(())
    }

    async fn open(&self, _: &str) -> Result<mpsc::Receiver<Heard>, LinkError> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        self.hub.lock().insert(self.name.clone(), Node { sender, is_cut: false });
        Ok(receiver)
    }

    fn message_max(&self) -> usize {
        7900
    }

    fn is_up(&self) -> bool {
        self.hub.lock().get(&self.name).is_some_and(|node| !node.is_cut)
    }

    async fn close(&self) {
        self.hub.lock().remove(&self.name);
    }

    fn describe(&self) -> String {
        String::from("hub")
    }
}

/// The events of a log must be numbered without a gap from 1.
///
/// # Panics
/// When they are not.
pub fn assert_contiguous(events: &[StoredEvent]) {
    for (place, stored) in (1..).zip(events) {
        assert_eq!(stored.cursor, Cursor(place), "the log has no gap");
    }
}
