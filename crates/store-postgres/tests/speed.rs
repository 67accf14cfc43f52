//! How fast units of work are committed beside SQLite in the same run, for people:
//! `cargo nextest run --release -p store-postgres --run-ignored all --no-capture speed`.
//!
//! The unit is what accepting a message does: three reads, four writes, two events. Both databases
//! wait for the disk, the server's on the disk of `TMPDIR`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::{Event, MessageId, NewMessage, Run, RunId, RunState};
use store::testkit::rows::{at, run, session};
use store::testkit::{read, write};
use store::{MessagePage, Store, StoreError, Tx};
use store_postgres::{PostgresOptions, PostgresStore};
use store_sqlite::{SqliteOptions, SqliteStore};
use testservers::Postgres;

const TEXT: &str =
    "A question of common length: is the hut above the lake open in October, and when does the last bus leave?";

fn accept(tx: &dyn Tx, task: u64, number: u64) -> Result<(), StoreError> {
    let name = format!("agent:main:s{task}");
    let stored = tx.sessions().get(&session(&name, 1).key)?;
    let mut session = stored.unwrap_or_else(|| session(&name, 1));
    let unfinished = tx.runs().unfinished_of(&session.key)?;
    tx.nodes().owner_of(&session.key)?;
    for former in unfinished {
        tx.runs_mut().update(&Run { state: RunState::Completed, ..former })?;
    }
    let id = MessageId::trusted(format!("msg_{task}_{number}"));
    let body = NewMessage::user(TEXT);
    let seq = tx.messages_mut().append((&session.key, &session.id), &id, None, at(1), &body)?;
    let run = Run { message_id: id.clone(), ..run(&format!("run_{task}_{number}"), &name) };
    tx.runs_mut().insert(&run)?;
    session.message_count += 1;
    tx.sessions_mut().put(&session)?;
    for _ in 0..2 {
        let event = Event::MessageStored {
            session_key: session.key.clone(),
            message_id: id.clone(),
            message_seq: seq,
            role: model::Role::User,
            run_id: Some(RunId::trusted(run.id.as_str())),
            text: TEXT.to_owned(),
        };
        tx.events_mut().append(at(1), &event)?;
    }
    Ok(())
}

/// No two units have the same number.
static UNITS: AtomicU64 = AtomicU64::new(0);

/// Commits in a second, with as many writers at once as `tasks`, and the middle and the slowest wait.
async fn commits(store: &Arc<dyn Store>, tasks: u64, time: Duration) -> (f64, Duration, Duration) {
    let begun = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let store = Arc::clone(store);
        running.spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < time {
                let (start, number) = (Instant::now(), UNITS.fetch_add(1, Ordering::Relaxed));
                write(&store, move |tx| accept(tx, tasks * 1000 + task, number)).await;
                waits.push(start.elapsed());
            }
            waits
        });
    }
    let mut waits: Vec<Duration> = running.join_all().await.into_iter().flatten().collect();
    waits.sort_unstable();
    let rate = waits.len() as f64 / begun.elapsed().as_secs_f64();
    (rate, waits[waits.len() / 2], waits[waits.len() - 1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, to be read by people"]
async fn speed_of_commits_beside_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite: Arc<dyn Store> =
        Arc::new(SqliteStore::open(folder.path().join("speed.db"), SqliteOptions::default()).expect("opens"));
    let server = Postgres::start(testservers::PostgresOptions { durable: true, ..Default::default() });
    let start = Instant::now();
    let postgres: Arc<dyn Store> =
        Arc::new(PostgresStore::open(&server.fresh_database(), PostgresOptions::default()).expect("opens"));
    println!("open an empty database: {:?}", start.elapsed());
    for tasks in [1, 8, 32, 64] {
        let mut rates = Vec::new();
        for (name, store) in [("SQLite", &sqlite), ("PostgreSQL", &postgres)] {
            commits(store, tasks, Duration::from_millis(500)).await;
            let (rate, middle, worst) = commits(store, tasks, Duration::from_secs(3)).await;
            println!("{tasks:3} writers, {name:>10}: {rate:6.0} commits/s, wait p50 {middle:?}, worst {worst:?}");
            rates.push(rate);
        }
        println!("{tasks:3} writers: PostgreSQL does {:.2} of SQLite", rates[1] / rates[0]);
    }
    for (name, store) in [("SQLite", &sqlite), ("PostgreSQL", &postgres)] {
        let mut waits = Vec::new();
        for _ in 0..2000 {
            let start = Instant::now();
            let page = MessagePage { limit: 20, ..MessagePage::default() };
            read(store, move |snapshot| snapshot.messages().page(&session("agent:main:s32001", 1).id, &page)).await;
            waits.push(start.elapsed());
        }
        waits.sort_unstable();
        println!("{name}: a page of 20 messages: p50 {:?}, p99 {:?}", waits[1000], waits[1980]);
    }
}
