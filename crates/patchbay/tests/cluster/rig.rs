//! The cluster as a whole: servers, nodes, the model behind them.

use std::future::Future;
use std::time::{Duration, Instant};

use testservers::{Nats, NatsOptions, Postgres, PostgresOptions};

use crate::node::Node;
use crate::upstream::Upstream;

/// Longer than anything here takes; a test that waits this long has found something stuck.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(20);
pub const LEASE: Duration = Duration::from_secs(2);
/// What a takeover may take beyond the lease.
pub const GRACE: Duration = Duration::from_secs(2);
pub const TOKEN: &str = "the-token-of-these-tests";
pub const NODES: usize = 3;
const DATABASE: &str = "postgres";
/// Of a node at rest.
const DESCRIPTORS_MAX: usize = 64;

/// Nodes beside each other. Dropping it ends all.
pub struct Rig {
    pub nodes: Vec<Node>,
    pub upstream: Upstream,
    pub nats: Option<Nats>,
    pub postgres: Postgres,
}

/// How the nodes speak to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    Nats,
    /// PostgreSQL's NOTIFY.
    Database,
}

impl Rig {
    pub async fn start(bus: Bus) -> Rig {
        let upstream = Upstream::start().await;
        let postgres = Postgres::start(PostgresOptions::default());
        let nats = (bus == Bus::Nats).then(|| Nats::start(NatsOptions::default()));
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let url = postgres.url_of(DATABASE);
            let straight = format!(":{}/", postgres.port());
            let mut node = Node::new(
                &format!("node-{number}"),
                upstream.port,
                postgres.port(),
                |port| url.replace(&straight, &format!(":{port}/")),
                nats.as_ref().map(Nats::port),
                LEASE.as_secs(),
            )
            .await;
            node.start().await;
            nodes.push(node);
        }
        let rig = Rig { nodes, upstream, nats, postgres };
        rig.wait_until("all nodes are members", || rig.members() == NODES).await;
        rig
    }

    /// Statements past all wires; rows one a line.
    pub fn sql(&self, statements: &str) -> String {
        self.postgres.sql(DATABASE, statements)
    }

    fn number(&self, query: &str) -> u64 {
        let text = self.sql(query);
        text.parse().unwrap_or_else(|_| panic!("`{query}` gives {text:?}"))
    }

    pub fn members(&self) -> usize {
        usize::try_from(self.number("SELECT count(*) FROM nodes")).expect("few")
    }

    /// The number of the node's present life; 0 when it is not in the cluster.
    pub fn fence(&self, node: usize) -> u64 {
        self.number(&format!("SELECT coalesce(max(fence), 0) FROM nodes WHERE name = '{}'", self.nodes[node].name))
    }

    /// Unfinished runs that this life of a node drives.
    pub fn driven_by(&self, fence: u64) -> u64 {
        self.number(&format!("SELECT count(*) FROM runs WHERE NOT is_over AND owner = {fence}"))
    }

    /// Runs whose turn has begun.
    pub fn running(&self) -> u64 {
        self.number("SELECT count(*) FROM runs WHERE state = 'running'")
    }

    pub fn unfinished(&self) -> u64 {
        self.number("SELECT count(*) FROM runs WHERE NOT is_over")
    }

    /// Looks again and again; each look is cheap beside a process that is started for it.
    pub async fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "{what}: it does not come; {}", self.describe());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the life of a node is over for the others, and what it drove is another's.
    pub async fn taken_over(&self, fence: u64) {
        let query = format!(
            "SELECT (SELECT count(*) FROM nodes WHERE fence = {fence}) + \
             (SELECT count(*) FROM runs WHERE NOT is_over AND owner = {fence})"
        );
        self.wait_until("a takeover", || self.number(&query) == 0).await;
    }

    /// All that was accepted has ended, and every node is back.
    pub async fn settle(&mut self) {
        self.upstream.release();
        for node in self.nodes.iter_mut().filter(|node| !node.is_running()) {
            node.start().await;
        }
        self.wait_until("every run ends and every node is a member", || {
            self.unfinished() == 0 && self.members() == NODES
        })
        .await;
    }

    /// Nothing of what happened is left open: no node has more files and sockets than one that does nothing.
    pub async fn is_tidy(&self) {
        let open = || self.nodes.iter().map(Node::descriptors).max().expect("there are nodes");
        self.wait_until("all that was opened is closed", || open() <= DESCRIPTORS_MAX).await;
    }

    fn describe(&self) -> String {
        let nodes = self.sql("SELECT name, fence, beats, is_draining FROM nodes");
        let runs = self.sql("SELECT state, owner, count(*) FROM runs GROUP BY 1, 2");
        let descriptors: Vec<usize> =
            self.nodes.iter().filter(|node| node.is_running()).map(Node::descriptors).collect();
        format!("nodes: {nodes:?}; runs: {runs:?}; descriptors: {descriptors:?}")
    }
}

/// What comes soon, or never.
pub async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, coming).await.unwrap_or_else(|_| panic!("{what} does not come"))
}
