//! One node: started, frozen, killed, started again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::{Agent, AgentId, AgentIdentity, Clock, Ids, ModelRef, Thinking, Timestamp};
use providers::{Provider, Registry, RetryPolicy, Router};
use services::{GatewayInfo, Limits, Models, NodeOptions, Parts, Services, SessionRules};
use store::Store;
use testkit::{ScriptedConfig, SharedDatabase};
use tokio::time::Instant;

use crate::dice::Dice;
use crate::link::Air;
use crate::model_of::{Model, Work};
use crate::slow::SlowStore;

pub const LEASE: Duration = Duration::from_secs(5);

/// Virtual time, with a wall clock that can jump.
pub struct JumpingClock {
    start: Instant,
    jump: AtomicI64,
}

impl JumpingClock {
    pub fn new() -> Self {
        Self { start: Instant::now(), jump: AtomicI64::new(0) }
    }

    pub fn jump(&self, ms: i64) {
        self.jump.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.start.elapsed().as_millis()).expect("a short schedule");
        Timestamp::from_ms(testkit::START_MS + elapsed + self.jump.load(Ordering::SeqCst))
    }
}

pub struct Node {
    pub services: Arc<Services>,
    pub store: Arc<SlowStore>,
    pub clock: Arc<JumpingClock>,
}

/// What all lives of all nodes are made from.
pub struct Place {
    pub dice: Dice,
    pub database: Arc<SharedDatabase>,
    pub air: Air,
}

impl Node {
    pub async fn start(place: &Place, number: usize) -> Self {
        let clock = Arc::new(JumpingClock::new());
        let opened: Arc<dyn Store> = place.database.open();
        let store = SlowStore::new(opened, place.dice.apart());
        let dyn_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let ids = Arc::new(Ids::seeded(Arc::clone(&dyn_clock), place.dice.roll(u64::MAX)));
        let registry = Arc::new(Registry::new(Arc::clone(&dyn_clock)));
        registry.replace([Arc::new(Model(place.dice.apart())) as Arc<dyn Provider>], None);
        let router = Arc::new(Router::new(Arc::clone(&registry), Arc::clone(&dyn_clock), RetryPolicy::default(), 1));
        let work = Work { dice: place.dice.apart(), is_repeatable: place.dice.chance(50) };
        let services = Services::start(Parts {
            info: GatewayInfo {
                version: "0.0.0",
                build: "simulation",
                started_at: clock.now(),
                instance_id: ids.uuid().to_string(),
                host: String::from("simulation"),
                home: PathBuf::new(),
                pid: 1,
            },
            ids,
            store: Arc::clone(&store) as Arc<dyn Store>,
            agents: vec![agent()],
            models: Models::new(registry, router, Some(ModelRef::new("sim", "model"))),
            tools: Arc::new(tools::Registry::built_in().with(Arc::new(work)).expect("a legal tool")),
            rules: SessionRules::default(),
            limits: Limits::default(),
            config: ScriptedConfig::new(Arc::clone(&dyn_clock)) as _,
            clock: dyn_clock,
            node: NodeOptions {
                lease: LEASE,
                link: Some(place.air.link(number)),
                ..NodeOptions::new(format!("node-{number}"))
            },
        })
        .await
        .expect("the services start");
        services.runs.recover().await.expect("what is unfinished is taken up");
        Self { services, store, clock }
    }

    /// Dies in the middle of whatever it does.
    pub async fn kill(&self) {
        self.store.take_away(true);
        assert!(self.services.lifecycle.stop(Duration::from_secs(600)).await, "some task did not end with its node");
    }

    pub async fn leave(&self) {
        self.services.lifecycle.drain();
        assert!(self.services.lifecycle.stop(Duration::from_secs(600)).await, "some task did not end with its node");
        // It may have been replaced meanwhile, which is goodbye as well.
        let _ = self.services.cluster.leave().await;
    }
}

fn agent() -> Agent {
    Agent {
        id: AgentId::main(),
        name: String::from("main"),
        description: String::new(),
        model: Some(ModelRef::new("sim", "model")),
        fallbacks: Vec::new(),
        system_prompt: None,
        thinking: Thinking::Medium,
        workspace: PathBuf::new(),
        tools: Some(vec![String::from("work"), String::from("ask_user")]),
        enabled: true,
        identity: AgentIdentity::default(),
    }
}
