//! Two nodes, and words that all these tests use.

use std::sync::Arc;
use std::time::Duration;

use events::Delivery;
use model::{Cursor, Event, Fence, RunId, RunOutcome, SessionKey};
use services::runs::NewRun;
use store::{StoreError, StoredEvent};
use testkit::cluster::assert_contiguous;
use testkit::{GatewayBuilder, Hub, SharedDatabase, TestGateway, soon};

pub const A: &str = "agent:main:a";

/// Short, so that a takeover does not keep a test waiting; long enough for a busy machine.
pub const LEASE: Duration = Duration::from_millis(600);

pub struct Pair {
    pub hub: Arc<Hub>,
    pub one: TestGateway,
    pub two: TestGateway,
}

impl Pair {
    pub async fn start() -> Self {
        Self::start_with(TestGateway::builder, Duration::from_secs(60)).await
    }

    /// Nodes that take over from each other soon.
    pub async fn short_lived() -> Self {
        Self::start_with(TestGateway::builder, LEASE).await
    }

    pub async fn start_with(build: impl Fn() -> GatewayBuilder, lease: Duration) -> Self {
        let (database, hub) = (SharedDatabase::new(), Hub::new());
        let node = |name: &str| build().lease(lease).node(name, &database, Some(hub.link(name)));
        let (one, two) = (node("one").start().await, node("two").start().await);
        let pair = Self { hub, one, two };
        for gateway in [&pair.one, &pair.two] {
            knows_nodes(gateway, 2).await;
        }
        pair
    }

    /// Stops both; the log must have no gap, and one end for each run.
    pub async fn end(self) {
        let events = self.two.events().await;
        assert_contiguous(&events);
        let mut ended: Vec<&RunId> = events
            .iter()
            .filter(|stored| matches!(stored.event, Event::RunEnded { .. }))
            .filter_map(|stored| stored.event.run().map(|run| &run.run_id))
            .collect();
        let all = ended.len();
        ended.sort();
        ended.dedup();
        assert_eq!(ended.len(), all, "no run ends twice");
        for gateway in [&self.one, &self.two] {
            assert!(gateway.services.lifecycle.stop(testkit::PATIENCE).await);
        }
    }
}

/// Waits until a node sees so many nodes beat.
pub async fn knows_nodes(gateway: &TestGateway, count: usize) {
    soon("the nodes of the cluster", async {
        loop {
            let status = gateway.services.cluster.status().await.expect("the status can be read");
            if status.members.len() == count && status.members.iter().all(|member| member.silent_ms.is_some()) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub fn key(text: &str) -> SessionKey {
    SessionKey::parse(text).expect("a legal key")
}

pub fn message(session: &str, text: &str) -> NewRun {
    NewRun::new(key(session), text, "test")
}

pub fn me(gateway: &TestGateway) -> Fence {
    gateway.services.cluster.me()
}

/// Waits for the first event of a node's bus that satisfies `is_it`, past ones included.
pub async fn seen(gateway: &TestGateway, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
    let mut events = gateway.services.bus.subscribe(Some(Cursor(0)));
    soon(what, async {
        loop {
            match events.next().await.expect("the log can be read") {
                Delivery::Event(envelope) if is_it(&envelope.event) => return envelope.event.clone(),
                Delivery::Closed => panic!("{what}: the gateway stopped first"),
                _ => {}
            }
        }
    })
    .await
}

/// The run's end, as this node hears of it.
pub async fn outcome(gateway: &TestGateway, run: &RunId) -> RunOutcome {
    let is_end =
        |event: &Event| matches!(event, Event::RunEnded { .. }) && event.run().is_some_and(|of| of.run_id == *run);
    match seen(gateway, "the end of a run", is_end).await {
        Event::RunEnded { outcome, .. } => outcome,
        other => panic!("{other:?} is no end"),
    }
}

/// The owner of a run as it is stored.
pub async fn owner(gateway: &TestGateway, run: &RunId) -> Fence {
    let id = run.clone();
    let run = gateway.db().read::<_, StoreError, _>(move |snapshot| snapshot.runs().get(&id)).await;
    run.expect("runs can be read").expect("the run is stored").owner
}

/// How many events of the log satisfy `is_it`.
pub async fn count(gateway: &TestGateway, is_it: impl Fn(&StoredEvent) -> bool) -> usize {
    gateway.events().await.iter().filter(|stored| is_it(stored)).count()
}
