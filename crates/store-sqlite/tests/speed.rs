//! How fast units of work are committed, for people: `cargo nextest run --release -p store-sqlite --run-ignored all --no-capture speed`.
//!
//! The unit is what the end of a turn writes: one message, one updated run, two events.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::{Event, MessageId, NewMessage, Run, RunId};
use store::testkit::rows::{at, run, session};
use store::testkit::{read, write};
use store::{MessagePage, Store, StoreError, Tx};
use store_sqlite::{SqliteOptions, SqliteStore};

const TEXT: &str = "A reply of common length: the weather in the mountains is clear, the path is dry, and the hut is open until \
    October. Take water, there is none above the tree line; the last bus leaves at six.";

fn open(folder: &tempfile::TempDir) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(folder.path().join("speed.db"), SqliteOptions::default()).expect("opens"))
}

/// On the disk of the build, or in `SPEED_FOLDER`.
fn folder() -> tempfile::TempDir {
    let place = std::env::var_os("SPEED_FOLDER").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    tempfile::tempdir_in(place).expect("a folder")
}

/// Memory of this process in RAM; 0 where the system does not tell.
fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processor time of this process so far, in ticks of 10 ms; 0 where the system does not tell.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn turn(tx: &dyn Tx, task: u64, number: u64) -> Result<(), StoreError> {
    let name = format!("agent:main:s{task}");
    let session = session(&name, 1);
    let body = NewMessage::assistant(TEXT);
    let id = MessageId::trusted(format!("msg_{task}_{number}"));
    tx.messages_mut().append(
        (&session.key, &session.id),
        &id,
        Some(&RunId::trusted(format!("run_{task}"))),
        at(1),
        &body,
    )?;
    let run = Run { response: Some(TEXT.to_owned()), next_seq: number, ..run(&format!("run_{task}"), &name) };
    tx.runs_mut().update(&run)?;
    for _ in 0..2 {
        let event = Event::MessageStored {
            session_key: session.key.clone(),
            message_id: id.clone(),
            message_seq: 1,
            role: model::Role::Assistant,
            run_id: Some(run.id.clone()),
            text: TEXT.to_owned(),
        };
        tx.events_mut().append(at(1), &event)?;
    }
    Ok(())
}

/// The `share`-th part of the values, such as 0.5 for the median.
fn part(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let place = (values.len() as f64 * share) as usize;
    values[place.min(values.len() - 1)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, to be read by people"]
async fn speed_of_commits() {
    let place = folder();
    let mut file = std::fs::File::create(place.path().join("sync")).expect("a file");
    let mut syncs: Vec<Duration> = (0..500)
        .map(|_| {
            file.write_all(&[7; 32 * 1024]).expect("writes");
            let start = Instant::now();
            file.sync_data().expect("syncs");
            start.elapsed()
        })
        .collect();
    println!("fdatasync of 32 KiB: p50 {:?}, p99 {:?}", part(&mut syncs, 0.5), part(&mut syncs, 0.99));

    let (start, before) = (Instant::now(), resident_kib());
    let store = open(&place);
    println!("open a new file: {:?}", start.elapsed());
    for number in 0..100 {
        write(&store, move |tx| turn(tx, 0, number)).await;
        read(&store, |snapshot| snapshot.messages().page(&session("agent:main:s0", 1).id, &MessagePage::default()))
            .await;
    }
    println!("resident memory of an open store that was used a little: {} KiB", resident_kib() - before);
    for tasks in [1_u64, 32, 64] {
        write(&store, move |tx| {
            (0..tasks).try_for_each(|task| {
                let name = tasks * 1000 + task;
                tx.runs_mut().insert(&run(&format!("run_{name}"), &format!("agent:main:s{name}")))
            })
        })
        .await;
        let (done, begun, before) = (Arc::new(AtomicU64::new(0)), Instant::now(), ticks());
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let (store, done) = (Arc::clone(&store), Arc::clone(&done));
                tokio::spawn(async move {
                    let mut waits = Vec::new();
                    while begun.elapsed() < Duration::from_secs(3) {
                        let (start, number) = (Instant::now(), waits.len() as u64);
                        write(&store, move |tx| turn(tx, tasks * 1000 + task, number)).await;
                        waits.push(start.elapsed());
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    waits
                })
            })
            .collect();
        let mut waits = Vec::new();
        for task in running {
            waits.extend(task.await.expect("the task ends"));
        }
        println!(
            "{tasks:3} tasks: {:7.0} commits/s, {:4.0} us processor each, wait p50 {:?}, p99 {:?}, worst {:?}",
            done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64(),
            (ticks() - before) as f64 * 10_000.0 / done.load(Ordering::Relaxed) as f64,
            part(&mut waits, 0.5),
            part(&mut waits, 0.99),
            part(&mut waits, 1.0),
        );
    }

    let mut waits = Vec::new();
    for _ in 0..5000 {
        let start = Instant::now();
        write(&store, |_| Ok(())).await;
        waits.push(start.elapsed());
    }
    println!("an empty unit: p50 {:?}, p99 {:?}", part(&mut waits, 0.5), part(&mut waits, 0.99));
    let mut waits = Vec::new();
    for _ in 0..5000 {
        let start = Instant::now();
        let page = read(&store, |snapshot| {
            snapshot
                .messages()
                .page(&session("agent:main:s32001", 1).id, &MessagePage { limit: 20, ..MessagePage::default() })
        });
        assert_eq!(page.await.len(), 20);
        waits.push(start.elapsed());
    }
    println!("a page of 20 messages: p50 {:?}, p99 {:?}", part(&mut waits, 0.5), part(&mut waits, 0.99));
    store.close().await;
    let start = Instant::now();
    let store = open(&place);
    println!("open it again: {:?}", start.elapsed());
    let start = Instant::now();
    read(&store, |snapshot| snapshot.events().bounds()).await;
    println!("first read, with its thread and connection: {:?}", start.elapsed());
}
