//! What the gateway does, in its own words: state, lifecycle and invariants of each domain.
//!
//! One module for each domain. Only this crate writes through the store, and it appends the events
//! of a change in the transaction of the change. Knows no wire. Read [`runs`] first: everything
//! else serves it.

pub mod agents;
pub mod archive;
pub mod cluster;
pub mod commands;
pub mod devices;
pub mod explain;
pub mod info;
pub mod kept;
pub mod letters;
pub mod lifecycle;
pub mod log;
pub mod models;
pub mod presence;
pub mod runs;
pub mod sessions;
pub mod settings;
pub mod subagents;
pub mod tokens;

use std::sync::Arc;

use events::EventBus;
use model::{Clock, Ids};
use store::Store;

pub use agents::Agents;
pub use cluster::{Cluster, NodeOptions};
pub use commands::Commands;
pub use devices::Devices;
pub use explain::Explain;
pub use info::GatewayInfo;
pub use kept::KeptThings;
pub use letters::Letters;
pub use lifecycle::{Ending, Lifecycle};
pub use models::Models;
pub use presence::Presence;
pub use runs::Runs;
pub use sessions::Sessions;
pub use settings::{GatewayConfig, Limits, SessionRules};
pub use subagents::Subagents;
pub use tokens::Tokens;

/// Everything an operation may ask. Made once by [`Services::start`].
pub struct Services {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    pub info: GatewayInfo,
    pub lifecycle: Lifecycle,
    pub bus: Arc<EventBus>,
    pub cluster: Arc<Cluster>,
    pub agents: Arc<Agents>,
    pub models: Arc<Models>,
    pub sessions: Arc<Sessions>,
    pub runs: Arc<Runs>,
    pub subagents: Arc<Subagents>,
    pub letters: Letters,
    pub tokens: Arc<Tokens>,
    pub devices: Arc<Devices>,
    pub presence: Arc<Presence>,
    pub commands: Commands,
    pub explain: Explain,
    pub kept: Arc<KeptThings>,
    pub config: Arc<dyn GatewayConfig>,
    pub(crate) store: Arc<dyn Store>,
}

/// What the binary (or a test) hands in.
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    pub info: GatewayInfo,
    pub store: Arc<dyn Store>,
    pub agents: Vec<model::Agent>,
    pub models: Models,
    pub tools: Arc<tools::Registry>,
    pub rules: SessionRules,
    pub limits: Limits,
    pub config: Arc<dyn GatewayConfig>,
    pub node: NodeOptions,
}

impl Services {
    /// Opens the event bus behind the store, loads the credentials, and wires the domains
    /// together. Work left over from before a restart is begun by [`Runs::recover`].
    pub async fn start(parts: Parts) -> Result<Arc<Services>, model::OpError> {
        let Parts { clock, ids, info, store, agents, models, tools, rules, limits, config, node } = parts;
        let lifecycle = Lifecycle::new();
        let joining = cluster::Joining {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            ids: &ids,
            info: &info,
            options: node,
        };
        let cluster = Cluster::join(joining).await?;
        let kept = Arc::new(KeptThings::new(Arc::clone(&store), Arc::clone(&clock)));
        let mailboxes = Arc::new(runs::Mailboxes::default());
        let (bus, channels) = log::open(&store, &cluster, &mailboxes).await?;
        let agents = Arc::new(Agents::new(agents));
        let models = Arc::new(models);
        let tokens = Arc::new(Tokens::load(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&ids)).await?);
        let devices = devices::Parts {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            ids: Arc::clone(&ids),
            bus: Arc::clone(&bus),
            tokens: Arc::clone(&tokens),
        };
        let devices = Arc::new(Devices::open(devices).await?);
        let presence = Arc::new(Presence::new(Arc::clone(&bus), Arc::clone(&clock), lifecycle.clone()));
        let sessions = Arc::new(Sessions::new(sessions::Parts {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            ids: Arc::clone(&ids),
            agents: Arc::clone(&agents),
            models: Arc::clone(&models),
            rules,
        }));
        let runs = Runs::new(runs::Parts {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            ids: Arc::clone(&ids),
            bus: Arc::clone(&bus),
            cluster: Arc::clone(&cluster),
            channels: Arc::clone(&channels),
            mailboxes,
            kept: Arc::clone(&kept),
            lifecycle: lifecycle.clone(),
            agents: Arc::clone(&agents),
            models: Arc::clone(&models),
            sessions: Arc::clone(&sessions),
            archive: archive::Archive::new(&info.home),
            tools,
            limits,
        });
        let subagents = Subagents::new(subagents::Parts {
            ids: Arc::clone(&ids),
            lifecycle: lifecycle.clone(),
            agents: Arc::clone(&agents),
            sessions: Arc::clone(&sessions),
            runs: Arc::clone(&runs),
        });
        let letters = Letters::new(Arc::clone(&clock), Arc::clone(&runs));
        let follower = Arc::new(runs::Follower { runs: Arc::clone(&runs), tokens: Arc::clone(&tokens) });
        let tail = cluster::Tail {
            cluster: Arc::clone(&cluster),
            store: Arc::clone(&store),
            bus: Arc::clone(&bus),
            channels,
            remote: Arc::clone(&follower) as _,
        };
        cluster.follow(tail, &lifecycle);
        cluster.beat(follower, &lifecycle);
        let commands = Commands;
        let explain = Explain::new(Arc::clone(&store), Arc::clone(&clock));
        Ok(Arc::new(Services {
            clock,
            ids,
            info,
            lifecycle,
            bus,
            cluster,
            agents,
            models,
            sessions,
            runs,
            subagents,
            letters,
            tokens,
            devices,
            presence,
            commands,
            explain,
            kept,
            config,
            store,
        }))
    }

    /// Writes down events that tell of a change outside of the store, such as a new configuration.
    pub async fn record(&self, at: model::Timestamp, events: Vec<model::Event>) -> Result<(), model::OpError> {
        self.store
            .write(move |tx| {
                for event in &events {
                    tx.events_mut().append(at, event)?;
                }
                Ok(())
            })
            .await
    }
}
