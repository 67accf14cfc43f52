use model::{OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use services::cluster::{self, Member};

use crate::{Call, Operation, Reply};

/// Show the nodes that share the gateway's database, and what each of them drives.
#[derive(JsonSchema)]
pub struct ClusterStatus;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// The same on every node, and no other cluster's.
    pub cluster_id: String,
    /// Whether other nodes may share the database; a gateway on SQLite has it alone.
    pub shared: bool,
    pub store: String,
    /// Where nodes speak to each other beside the database.
    pub bus: Option<String>,
    pub bus_up: bool,
    /// How long a node may be silent before others take over its runs.
    pub lease_ms: u64,
    pub nodes: Vec<NodeEntry>,
    /// Unfinished runs that no node drives just now.
    pub orphans: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct NodeEntry {
    pub name: String,
    /// The number of this life of the node; each start has a greater one.
    pub fence: u64,
    /// The node that answers.
    pub me: bool,
    pub host: String,
    pub version: String,
    pub pid: u32,
    /// Where it listens, by dialect.
    pub addresses: Value,
    /// Unix milliseconds.
    pub joined_at: i64,
    /// Since it last showed that it lives; absent for a gateway that is alone.
    pub silent_ms: Option<u64>,
    /// It takes no new work and is about to leave.
    pub draining: bool,
    /// Unfinished runs that it drives.
    pub runs: u64,
}

impl From<Member> for NodeEntry {
    fn from(member: Member) -> Self {
        Self {
            name: member.name,
            fence: member.fence.0,
            me: member.is_me,
            host: member.host,
            version: member.version,
            pid: member.pid,
            addresses: member.addresses,
            joined_at: member.joined_at.as_ms(),
            silent_ms: member.silent_ms,
            draining: member.is_draining,
            runs: member.runs,
        }
    }
}

impl Operation for ClusterStatus {
    const NAME: &'static str = "cluster.status";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, _: Params) -> Result<Reply<Output>, OpError> {
        let cluster::ClusterStatus { id, is_shared, store, bus, bus_is_up, lease_ms, members, orphans } =
            call.services.cluster.status().await?;
        Ok(Output {
            cluster_id: id,
            shared: is_shared,
            store,
            bus,
            bus_up: bus_is_up,
            lease_ms,
            nodes: members.into_iter().map(NodeEntry::from).collect(),
            orphans,
        }
        .into())
    }
}
