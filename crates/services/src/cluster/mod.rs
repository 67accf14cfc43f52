//! The nodes that share this gateway's database, and this node's place among them.
//!
//! Nodes are equals. What one of them must know of another is in the database: who lives ([`beat`]),
//! whose a run is, and the log of events, which every node follows to its end ([`tail`]). The link
//! between nodes only makes it quicker, and carries what is not kept ([`wire`]). A gateway with a
//! database of its own is a cluster of one: then nothing of this runs but [`Cluster::join`].

mod beat;
mod outbox;
mod status;
mod tail;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Heard, Link};
use model::{Clock, Event, Fence, Ids, OpError};
use serde_json::{Value, json};
use store::{Document, NewNode, Store};
use tokio::sync::{Notify, mpsc, watch};

pub use status::{ClusterStatus, Member};

pub(crate) use beat::Heirs;
pub(crate) use outbox::Outbox;
pub(crate) use tail::{Remote, Tail};
pub(crate) use wire::RemoteText;

/// How this node enters its cluster.
#[derive(Clone)]
pub struct NodeOptions {
    /// Stays the same when the node is started again, and is no other node's.
    pub name: String,
    /// How long this node may be silent before others take over its runs.
    pub lease: Duration,
    /// How the nodes speak to each other beside the database.
    pub link: Option<Arc<dyn Link>>,
}

impl NodeOptions {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), lease: DEFAULT_LEASE, link: None }
    }
}

pub const DEFAULT_LEASE: Duration = Duration::from_secs(5);

pub struct Cluster {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// The life of this node that began with this process, or with its last return to the cluster.
    me: Fence,
    name: String,
    /// The same for all nodes of the database, and no other cluster's.
    id: String,
    lease: Duration,
    link: Option<Arc<dyn Link>>,
    /// Taken by whoever listens to it.
    heard: Mutex<Option<mpsc::Receiver<Heard>>>,
    outbox: Outbox,
    /// Others share the database just now.
    has_peers: AtomicBool,
    /// The last beat was not written.
    is_cut_off: AtomicBool,
    nodes: Mutex<Vec<Observed>>,
    addresses: Mutex<Value>,
    /// The log has grown, or may have.
    poked: Notify,
    /// A node has come or gone.
    changed: Notify,
    fenced: watch::Sender<bool>,
}

/// A node as this one saw it last.
#[derive(Clone)]
struct Observed {
    node: store::Node,
    /// When its beats were last seen to rise.
    alive_at: tokio::time::Instant,
}

pub(crate) struct Joining<'a> {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub ids: &'a Ids,
    pub info: &'a crate::GatewayInfo,
    pub options: NodeOptions,
}

impl Cluster {
    /// Enters the cluster of the database. From here on this process writes as that node, or not at all.
    pub(crate) async fn join(joining: Joining<'_>) -> Result<Arc<Self>, OpError> {
        let Joining { store, clock, ids, info, options } = joining;
        let NodeOptions { name, lease, link } = options;
        let node = NewNode {
            name: name.clone(),
            host: info.host.clone(),
            version: info.version.to_owned(),
            pid: info.pid,
            addresses: json!({}),
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            at: clock.now(),
        };
        let (is_shared, now, fresh) = (store.is_shared(), clock.now(), ids.uuid().to_string());
        let (me, id) = store
            .write::<_, OpError, _>(move |tx| {
                if !is_shared {
                    // Whoever was here before held the database alone, and does not any more.
                    for former in tx.nodes().list()? {
                        tx.nodes_mut().remove(former.fence)?;
                    }
                }
                let me = tx.nodes_mut().join(&node)?;
                if is_shared {
                    tx.events_mut().append(now, &Event::NodeJoined { node: node.name, fence: me })?;
                }
                let known = tx.documents().get("cluster", "id")?;
                let id = known.and_then(|document| document.body["id"].as_str().map(str::to_owned));
                if let Some(id) = id {
                    return Ok((me, id));
                }
                let body = json!({ "id": fresh });
                tx.documents_mut().put("cluster", &Document { id: "id".into(), body, updated_at: now })?;
                Ok((me, fresh))
            })
            .await?;
        store.write_as(me);
        // A database that is this node's alone has nobody to speak with.
        let link = link.filter(|_| is_shared);
        let heard = match &link {
            Some(link) => match link.open(&id).await {
                Ok(heard) => Some(heard),
                Err(error) => {
                    // It never was one of them.
                    store.write::<_, OpError, _>(move |tx| Ok(tx.nodes_mut().remove(me)?)).await?;
                    return Err(OpError::conflict(error.to_string()));
                }
            },
            None => None,
        };
        let (fenced, _) = watch::channel(false);
        Ok(Arc::new(Self {
            outbox: Outbox::new(me, &id),
            store,
            clock,
            me,
            name,
            id,
            lease,
            link,
            heard: Mutex::new(heard),
            has_peers: AtomicBool::new(false),
            is_cut_off: AtomicBool::new(false),
            nodes: Mutex::default(),
            addresses: Mutex::new(json!({})),
            poked: Notify::new(),
            changed: Notify::new(),
            fenced,
        }))
    }

    /// The number of this node's present life.
    pub fn me(&self) -> Fence {
        self.me
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster's own id; two clusters never have the same.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether other nodes may come.
    pub fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Resolves when another node has taken over from this one: it must begin a new life.
    pub async fn fenced_off(&self) {
        let mut fenced = self.fenced.subscribe();
        // The sender lives as long as this.
        let _ = fenced.wait_for(|fenced| *fenced).await;
    }

    /// Whether this node reaches its database, as far as it knows: one that does not shall get no new clients.
    pub fn is_well(&self) -> bool {
        !self.is_cut_off.load(Ordering::Relaxed) && !*self.fenced.borrow()
    }

    /// Tells the others where this node listens.
    pub fn listens_at(&self, addresses: Value) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Says goodbye: from here on this node writes nothing, and the others take up what it held.
    pub async fn leave(&self) -> Result<(), OpError> {
        let (me, name, now, is_shared) = (self.me, self.name.clone(), self.clock.now(), self.is_shared());
        let left = self.store.write::<_, OpError, _>(move |tx| {
            if tx.nodes_mut().remove(me)? && is_shared {
                tx.events_mut().append(now, &Event::NodeLeft { node: name, fence: me, lost: false })?;
            }
            Ok(())
        });
        left.await?;
        if let Some(link) = &self.link {
            self.outbox.send_rest(link).await;
        }
        self.close().await;
        Ok(())
    }

    /// Ends the link to the other nodes.
    pub async fn close(&self) {
        if let Some(link) = &self.link {
            link.close().await;
        }
    }

    /// Claims something that is due once in the cluster, such as a scheduled job: `true` for one node
    /// alone, and for it once, whatever the nodes' clocks say.
    pub async fn claim(&self, name: &str, due: model::Timestamp) -> Result<bool, OpError> {
        let name = name.to_owned();
        self.store.write::<_, OpError, _>(move |tx| Ok(tx.nodes_mut().claim(&name, due)?)).await
    }

    /// Others share the database just now.
    pub fn has_peers(&self) -> bool {
        self.has_peers.load(Ordering::Relaxed)
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Something was committed that others may wait for.
    pub(crate) fn committed(&self, cursor: model::Cursor) {
        if self.has_peers() {
            self.outbox.log(cursor);
        }
    }

    /// The log must be read.
    pub(crate) fn poke(&self) {
        self.poked.notify_one();
    }

    /// A node has come or gone: looks at once who is there.
    pub(crate) fn members_changed(&self) {
        self.changed.notify_one();
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Observed>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
