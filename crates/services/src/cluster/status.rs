//! The cluster as this node sees it.

use model::{Fence, OpError, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use super::Cluster;

#[derive(Debug, Clone, PartialEq)]
pub struct ClusterStatus {
    pub id: String,
    /// Other nodes may come: the database is one that several can use.
    pub is_shared: bool,
    pub store: String,
    /// Where nodes speak to each other; absent when they only meet in the database.
    pub bus: Option<String>,
    pub bus_is_up: bool,
    pub lease_ms: u64,
    pub members: Vec<Member>,
    /// Unfinished runs that no node drives just now.
    pub orphans: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub name: String,
    pub fence: Fence,
    /// The node that answers.
    pub is_me: bool,
    pub host: String,
    pub version: String,
    pub pid: u32,
    /// Where it listens, by dialect.
    pub addresses: Value,
    pub joined_at: Timestamp,
    /// Since its beats were last seen to rise; absent when this node does not watch.
    pub silent_ms: Option<u64>,
    pub is_draining: bool,
    /// Unfinished runs that it drives.
    pub runs: u64,
}

impl Cluster {
    pub async fn status(&self) -> Result<ClusterStatus, OpError> {
        let (nodes, owners) = self
            .store
            .read::<_, OpError, _>(|snapshot| {
                let owners: Vec<Fence> = snapshot.runs().unfinished()?.into_iter().map(|run| run.owner).collect();
                Ok((snapshot.nodes().list()?, owners))
            })
            .await?;
        let now = Instant::now();
        let observed = self.nodes().clone();
        let runs_of = |fence: Fence| owners.iter().filter(|owner| **owner == fence).count() as u64;
        let mut orphans = owners.len() as u64;
        let members = nodes.into_iter().map(|found| {
            let seen = observed.iter().find(|seen| seen.node.fence == found.fence);
            let silent =
                seen.filter(|seen| seen.node.beats == found.beats).map(|seen| now.duration_since(seen.alive_at));
            let runs = runs_of(found.fence);
            orphans -= runs;
            let silent = silent.or(seen.map(|_| std::time::Duration::ZERO));
            Member {
                is_me: found.fence == self.me,
                fence: found.fence,
                name: found.node.name,
                host: found.node.host,
                version: found.node.version,
                pid: found.node.pid,
                addresses: found.node.addresses,
                joined_at: found.node.at,
                silent_ms: silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
                is_draining: found.is_draining,
                runs,
            }
        });
        let members = members.collect();
        Ok(ClusterStatus {
            id: self.id.clone(),
            is_shared: self.is_shared(),
            store: self.store.describe(),
            bus: self.link.as_ref().map(|link| link.describe()),
            bus_is_up: self.link.as_ref().is_some_and(|link| link.is_up()),
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
            members,
            orphans,
        })
    }
}
