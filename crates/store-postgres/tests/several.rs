//! Several nodes on one database: cursors have no gap and come in the order of commits, whatever
//! happens to a node between taking one and committing it.

mod support;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::Cursor;
use store::testkit::rows::{at, event};
use store::testkit::{Dice, Heard, read};
use store::{Store, StoreError, StoredEvent};
use store_postgres::PostgresOptions;
use support::{PATIENCE, open, open_with, put, whole_units};
use testservers::Postgres;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Reads the log as a follower does, page after page, and holds it to having no hole.
struct Follower {
    pages: Arc<AtomicU64>,
    stops: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<StoredEvent>>,
}

impl Follower {
    fn start(store: Arc<dyn Store>) -> Follower {
        let (pages, stops) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&pages), Arc::clone(&stops));
        let task = tokio::spawn(async move {
            let mut log: Vec<StoredEvent> = Vec::new();
            loop {
                let is_last = stopped.load(Ordering::SeqCst);
                let last = log.last().map_or(Cursor(0), |stored| stored.cursor);
                let page = read(&store, move |snapshot| snapshot.events().after(last, 1000)).await;
                let mut expected = last;
                for stored in &page {
                    expected = expected.next();
                    assert_eq!(stored.cursor, expected, "a hole, to be filled later");
                }
                log.extend(page);
                counted.fetch_add(1, Ordering::SeqCst);
                if is_last {
                    return log;
                }
                tokio::task::yield_now().await;
            }
        });
        Follower { pages, stops, task }
    }

    async fn end(self) -> Vec<StoredEvent> {
        self.stops.store(true, Ordering::SeqCst);
        self.task.await.expect("no hole was seen")
    }
}

/// Blocks the calling thread until the follower has looked twice more.
fn pause(pages: &AtomicU64) {
    let (seen, begun) = (pages.load(Ordering::SeqCst), Instant::now());
    while pages.load(Ordering::SeqCst) < seen + 2 && begun.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_never_sees_a_hole_however_long_nodes_take_to_commit() {
    let url = Postgres::shared().fresh_database();
    let follower = Follower::start(open(&url));
    let seed = 20_261;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let (store, heard) = (open(&url), Arc::new(Heard::default()));
        store.announce_to(heard.clone());
        nodes.push((store, heard));
    }
    let mut tasks = JoinSet::new();
    for task in 0..12_u64 {
        let store = Arc::clone(&nodes[task as usize % nodes.len()].0);
        let pages = Arc::clone(&follower.pages);
        tasks.spawn(async move {
            let mut dice = Dice::new(seed + task);
            let mut given = VecDeque::new();
            for step in 0..20_u64 {
                let (count, fate, pauses) = (1 + dice.roll(3), dice.roll(4), dice.roll(4) == 0);
                let pages = Arc::clone(&pages);
                let written: Result<Vec<Cursor>, StoreError> = store
                    .write(move |tx| {
                        let first = task * 1000 + step * 10;
                        let cursors: Result<Vec<Cursor>, StoreError> = (first..first + count)
                            .map(|number| tx.events_mut().append(at(1), &event(number)))
                            .collect();
                        // Some have reached the server by now, and some have not.
                        if fate == 3 {
                            tx.events().bounds()?;
                        }
                        if pauses {
                            pause(&pages);
                        }
                        assert!(fate != 0, "the unit panics on purpose");
                        if fate == 1 { Err(StoreError::Conflict(String::from("on purpose"))) } else { cursors }
                    })
                    .await;
                assert_eq!(written.is_ok(), fate > 1, "seed {seed}, task {task}: {written:?}");
                given.extend(written.unwrap_or_default());
            }
            given
        });
    }
    let mut given: Vec<Cursor> = tasks.join_all().await.into_iter().flatten().collect();
    given.sort_unstable();
    let log = follower.end().await;
    let cursors: Vec<Cursor> = log.iter().map(|stored| stored.cursor).collect();
    assert_eq!(given, cursors, "seed {seed}: what was given is what is there");
    let mut announced: Vec<StoredEvent> = Vec::new();
    for (_, heard) in &nodes {
        let own = heard.all();
        assert!(own.windows(2).all(|pair| pair[0].cursor < pair[1].cursor), "each node hears its own in order");
        announced.extend(own);
    }
    announced.sort_by_key(|stored| stored.cursor);
    assert_eq!(announced, log, "each event was announced by the node that wrote it, once");
}

/// A unit that writes, says so, and goes on when it is told to.
fn held(
    store: &Arc<dyn Store>,
    name: &'static str,
) -> (oneshot::Receiver<()>, std::sync::mpsc::SyncSender<()>, tokio::task::JoinHandle<Result<Cursor, StoreError>>) {
    let (begun, has_begun) = oneshot::channel();
    let (go_on, goes_on) = sync_channel(1);
    let store = Arc::clone(store);
    let unit = tokio::spawn(async move {
        store
            .write(move |tx| {
                let cursor = support::unit(tx, name)?;
                tx.events().bounds()?;
                begun.send(()).expect("the test waits for it");
                goes_on.recv().expect("the test sends it");
                tx.events().bounds()?;
                Ok(cursor)
            })
            .await
    });
    (has_begun, go_on, unit)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_connection_is_killed_in_the_middle_leaves_nothing() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    let (one, two) = (open(&url), open(&url));
    put(&one, "first").await.expect("writes");
    let (has_begun, go_on, unit) = held(&one, "killed");
    has_begun.await.expect("the unit runs");
    let name = url.rsplit('/').next().expect("an address ends in a database");
    let kill = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND state = 'idle in transaction'"
    );
    assert_eq!(server.sql("postgres", &kill), "t");
    put(&two, "second").await.expect("nobody holds it up");
    go_on.send(()).expect("the unit waits for it");
    let killed = unit.await.expect("told");
    assert!(matches!(killed, Err(StoreError::Unavailable(_))), "{killed:?}");
    put(&one, "third").await.expect("it has come back");
    assert_eq!(whole_units(&two).await, ["first", "second", "third"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_in_the_middle_holds_up_the_others_for_a_moment_only() {
    let url = Postgres::shared().fresh_database();
    let options = PostgresOptions { idle_timeout: Duration::from_millis(300), ..PostgresOptions::default() };
    let (one, two) = (open_with(&url, options), open(&url));
    put(&one, "first").await.expect("writes");
    let (has_begun, go_on, unit) = held(&one, "hangs");
    has_begun.await.expect("the unit runs");
    put(&two, "second").await.expect("the server sends the other away");
    go_on.send(()).expect("the unit waits for it");
    let hung = unit.await.expect("told");
    assert!(matches!(hung, Err(StoreError::Unavailable(_))), "{hung:?}");
    put(&one, "third").await.expect("it has come back");
    assert_eq!(whole_units(&two).await, ["first", "second", "third"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_for_the_others_is_told_to_try_again() {
    let url = Postgres::shared().fresh_database();
    let options = PostgresOptions { lock_timeout: Duration::from_millis(100), ..PostgresOptions::default() };
    let (one, two) = (open(&url), open_with(&url, options));
    put(&one, "first").await.expect("writes");
    let (has_begun, go_on, unit) = held(&one, "slow");
    has_begun.await.expect("the unit runs");
    let told = put(&two, "waits").await;
    assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
    go_on.send(()).expect("the unit waits for it");
    assert_eq!(unit.await.expect("told").expect("kept"), Cursor(2));
    put(&two, "third").await.expect("its turn");
    assert_eq!(whole_units(&two).await, ["first", "slow", "third"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_passes_over_a_failure_keeps_nothing_and_harms_nobody() {
    let store = open(&Postgres::shared().fresh_database());
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for number in 0..30 {
        let (store, told) = (Arc::clone(&store), Arc::clone(&told));
        tasks.spawn(async move {
            let name = format!("{number:02}");
            let written: Result<(), StoreError> = store
                .write(move |tx| {
                    support::unit(tx, &name)?;
                    if number % 3 == 0 {
                        // Longer than what the server indexes.
                        let call = model::ToolCallRecord {
                            run_id: model::RunId::trusted("run"),
                            call_id: (0..20_000).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect(),
                            name: String::new(),
                            arguments: String::new(),
                            state: model::ToolCallState::Pending,
                            result: None,
                            started_at: None,
                            ended_at: None,
                        };
                        tx.runs_mut().insert(&store::testkit::rows::run("run", "agent:main:main"))?;
                        assert!(tx.tool_calls_mut().put(&call).is_err());
                    }
                    Ok(())
                })
                .await;
            told.lock().expect("no panic").push((number, written.is_ok()));
        });
    }
    tasks.join_all().await;
    let mut kept: Vec<String> = whole_units(&store).await;
    kept.sort();
    let expected: Vec<String> = (0..30).filter(|number| number % 3 != 0).map(|number| format!("{number:02}")).collect();
    assert_eq!(kept, expected);
    assert!(told.lock().expect("no panic").iter().all(|(number, kept)| *kept == (number % 3 != 0)));
}
