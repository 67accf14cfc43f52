//! How fast what a turn writes is committed beside SQLite in the same run, for people:
//! `cargo nextest run --release -p store-postgres --run-ignored all --no-capture speed`.
//!
//! Both databases wait for the disk, the server's on the disk of `TMPDIR`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::{Event, MessageId, NewMessage, Run, RunState};
use store::testkit::read;
use store::testkit::rows::{at, run, session};
use store::{Foresight, MessagePage, Store, StoreError, Tx};
use store_postgres::{PostgresOptions, PostgresStore};
use store_sqlite::{SqliteOptions, SqliteStore};
use testservers::Postgres;

const TEXT: &str =
    "A question of common length: is the hut above the lake open in October, and when does the last bus leave?";

/// The three units of a turn, one after another as its steps are: a message is accepted, its run begins
/// and ends.
async fn turn(store: &Arc<dyn Store>, task: u64, number: u64) {
    let name = format!("agent:main:s{task}");
    let run = Run {
        message_id: MessageId::trusted(format!("msg_{task}_{number}")),
        ..run(&format!("run_{task}_{number}"), &name)
    };
    let answer = MessageId::trusted(format!("msg_{task}_{number}_answer"));
    let foreseen = |session: bool, messages: &[&MessageId]| Foresight {
        sessions: if session { vec![run.session_key.clone()] } else { Vec::new() },
        transcripts: if session { vec![run.session_id.clone()] } else { Vec::new() },
        runs: vec![run.id.clone()],
        messages: messages.iter().map(|id| (*id).clone()).collect(),
        conversations: Vec::new(),
    };
    let accepted = run.clone();
    work(store, foreseen(true, &[&run.message_id]), move |tx| {
        tx.nodes().owner_of(&accepted.session_key)?;
        say(tx, &accepted, &accepted.message_id, &NewMessage::user(TEXT))?;
        tx.runs_mut().insert(&accepted)?;
        tell(tx, &accepted)
    })
    .await;
    let begun = Run { state: RunState::Running, started_at: Some(at(2)), ..run.clone() };
    work(store, foreseen(false, &[]), move |tx| {
        assert!(tx.runs_mut().update_unfinished(&begun)?);
        tell(tx, &begun)
    })
    .await;
    let ended = Run { state: RunState::Completed, response: Some(TEXT.to_owned()), ..run.clone() };
    work(store, foreseen(true, &[&answer]), move |tx| {
        assert!(tx.runs_mut().update_unfinished(&ended)?);
        say(tx, &ended, &answer, &NewMessage::assistant(TEXT))?;
        tx.runs().inputs(&ended.id)?;
        tx.runs_mut().clear_inputs(&ended.id)?;
        tx.tool_calls().of_run(&ended.id)?;
        tell(tx, &ended)
    })
    .await;
}

async fn work(
    store: &Arc<dyn Store>,
    foresight: Foresight,
    unit: impl FnOnce(&dyn Tx) -> Result<(), StoreError> + Send + 'static,
) {
    store.write_foreseen(foresight, unit).await.expect("the unit of work is kept");
}

fn say(tx: &dyn Tx, run: &Run, id: &MessageId, body: &NewMessage) -> Result<(), StoreError> {
    let stored = tx.sessions().get(&run.session_key)?;
    let mut session = stored.unwrap_or_else(|| session(run.session_key.as_str(), 1));
    tx.messages_mut().append((&session.key, &session.id), id, Some(&run.id), at(1), body)?;
    session.message_count += 1;
    tx.sessions_mut().put(&session)?;
    tell(tx, run)
}

fn tell(tx: &dyn Tx, run: &Run) -> Result<(), StoreError> {
    let event = Event::MessageStored {
        session_key: run.session_key.clone(),
        message_id: run.message_id.clone(),
        message_seq: 1,
        role: model::Role::User,
        run_id: Some(run.id.clone()),
        text: TEXT.to_owned(),
    };
    tx.events_mut().append(at(1), &event).map(drop)
}

/// No two turns have the same number.
static TURNS: AtomicU64 = AtomicU64::new(0);

/// Turns in a second, with as many sessions at once as `tasks`, and the middle and the slowest time of one.
async fn turns(store: &Arc<dyn Store>, tasks: u64, time: Duration) -> (f64, Duration, Duration) {
    let begun = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let store = Arc::clone(store);
        running.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < time {
                let (start, number) = (Instant::now(), TURNS.fetch_add(1, Ordering::Relaxed));
                turn(&store, tasks * 1000 + task, number).await;
                times.push(start.elapsed());
            }
            times
        });
    }
    let mut times: Vec<Duration> = running.join_all().await.into_iter().flatten().collect();
    times.sort_unstable();
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    (rate, times[times.len() / 2], times[times.len() - 1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, to be read by people"]
async fn speed_of_turns_beside_sqlite() {
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
            turns(store, tasks, Duration::from_millis(500)).await;
            let (rate, middle, worst) = turns(store, tasks, Duration::from_secs(3)).await;
            println!("{tasks:3} sessions, {name:>10}: {rate:6.0} turns/s, p50 {middle:?}, worst {worst:?}");
            rates.push(rate);
        }
        println!("{tasks:3} sessions: PostgreSQL does {:.2} of SQLite", rates[1] / rates[0]);
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
