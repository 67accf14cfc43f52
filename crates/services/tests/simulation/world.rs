//! One schedule from its beginning to its judgement.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use model::RunId;
use store::StoreError;
use store_sqlite::InlineStore;
use testkit::SharedDatabase;
use tokio::task::LocalSet;

use crate::dice::Dice;
use crate::link::Air;
use crate::node::{Node, Place};
use crate::{check, clients, faults};

/// Everything must be over so long after the last fault.
const SETTLE: Duration = Duration::from_secs(600);

/// A message that was accepted, as its client knows it.
#[derive(Debug, Clone)]
pub struct Said {
    pub run: RunId,

    pub text: String,
}

pub struct World {
    pub dice: Dice,
    pub place: Place,
    /// `None` while a node is down.
    pub nodes: RefCell<Vec<Option<Rc<Node>>>>,
    pub said: RefCell<Vec<Said>>,
    /// Told to the client as neither accepted nor refused: it may be there, once.
    pub unsure: RefCell<Vec<String>>,
    pub seen: RefCell<Vec<(model::Cursor, model::Event)>>,
    pub is_over: std::cell::Cell<bool>,
}

impl World {
    pub async fn play(dice: Dice, nodes: usize, has_faults: bool) {
        let database = SharedDatabase::over(Arc::new(InlineStore::open().expect("a database in memory")));
        let place = Place { air: Air::new(dice.apart()), dice: dice.apart(), database };
        let mut started = Vec::new();
        for number in 0..nodes {
            started.push(Some(Rc::new(Node::start(&place, number).await)));
        }
        let world = Rc::new(World {
            dice,
            place,
            nodes: RefCell::new(started),
            said: RefCell::default(),
            unsure: RefCell::default(),
            seen: RefCell::default(),
            is_over: std::cell::Cell::new(false),
        });
        LocalSet::new().run_until(Self::run(Rc::clone(&world), has_faults)).await;
    }

    async fn run(world: Rc<Self>, has_faults: bool) {
        let watcher = tokio::task::spawn_local(clients::watch(Rc::clone(&world)));
        let supervisor = tokio::task::spawn_local(faults::replace_fenced(Rc::clone(&world)));
        let mut tasks = Vec::new();
        for client in 0..2 + world.dice.roll(3) {
            tasks.push(tokio::task::spawn_local(clients::talk(Rc::clone(&world), client)));
        }
        if has_faults {
            tasks.push(tokio::task::spawn_local(faults::trouble(Rc::clone(&world))));
        }
        for task in tasks {
            task.await.expect("a task of the schedule ends");
        }
        faults::heal(&world).await;
        world.settle().await;
        world.is_over.set(true);
        watcher.await.expect("the watcher ends");
        supervisor.await.expect("the supervisor ends");
        check::all(&world).await;
        let nodes: Vec<Rc<Node>> = world.nodes.borrow().iter().flatten().cloned().collect();
        for node in nodes {
            node.leave().await;
        }
    }

    /// A node that is up, if one is.
    pub fn node(&self) -> Option<Rc<Node>> {
        let up: Vec<Rc<Node>> = self.nodes.borrow().iter().flatten().cloned().collect();
        (!up.is_empty()).then(|| Rc::clone(self.dice.pick(&up)))
    }

    /// Waits until every run is over.
    async fn settle(&self) {
        let settled =
            async {
                loop {
                    let node = self.node().expect("every node is up");
                    let unfinished =
                        node.services.cluster.status().await.map(|status| {
                            status.orphans + status.members.iter().map(|member| member.runs).sum::<u64>()
                        });
                    if matches!(unfinished, Ok(0)) {
                        return;
                    }
                    // Somebody answers what was asked.
                    let all = self.said.borrow().clone();
                    for said in all {
                        let _ = node.services.runs.respond(&said.run, "the left one").await;
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            };
        if tokio::time::timeout(SETTLE, settled).await.is_err() {
            panic!("runs are unfinished long after the last fault: {:?}", self.unfinished().await);
        }
    }

    async fn unfinished(&self) -> Vec<String> {
        let node = self.node().expect("every node is up");
        let found = node.store_read(|snapshot| snapshot.runs().unfinished()).await;
        found.into_iter().map(|run| format!("{} {:?} of {}", run.id, run.state, run.owner)).collect()
    }
}

impl Node {
    /// Reads the database.
    pub async fn store_read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn store::Snapshot) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        let store = Arc::clone(&self.store) as Arc<dyn store::Store>;
        store.read::<_, StoreError, _>(query).await.expect("the database can be read")
    }
}
