//! A server that crashes, restarts or stays away.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use store::StoreError;
use store::testkit::Dice;
use support::{PATIENCE, open, put, put_once_it_is_back, whole_units};
use testservers::{Postgres, PostgresOptions};
use tokio::task::JoinSet;

fn durable() -> Postgres {
    Postgres::start(PostgresOptions { durable: true, ..PostgresOptions::default() })
}

/// Lets a server be ended and started without holding up the runtime.
async fn away(work: impl FnOnce() + Send) {
    tokio::task::block_in_place(work);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_survives_a_crash_of_the_server_and_nothing_is_half_there() {
    const ROUNDS: u64 = 3;
    const WRITERS: u64 = 8;
    let server = durable();
    let store = open(&server.fresh_database());
    let mut dice = Dice::new(20_261);
    let mut kept = BTreeSet::new();
    for round in 0..ROUNDS {
        let (is_over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (store, is_over, done) = (Arc::clone(&store), Arc::clone(&is_over), Arc::clone(&done));
            writers.spawn(async move {
                let mut kept = Vec::new();
                for number in 0.. {
                    let name = format!("{round}-{writer}-{number}");
                    match put(&store, &name).await {
                        Ok(_) => {
                            kept.push(name);
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(StoreError::Unavailable(_)) => tokio::task::yield_now().await,
                        Err(other) => panic!("{name}: {other:?}"),
                    }
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                }
                kept
            });
        }
        let (before, begun) = (20 + dice.roll(200), Instant::now());
        while done.load(Ordering::SeqCst) < before {
            assert!(begun.elapsed() < PATIENCE, "nothing is written");
            tokio::task::yield_now().await;
        }
        away(|| {
            server.kill();
            server.start_again();
        })
        .await;
        // Everybody goes on, with the same store.
        let (after, begun) = (done.load(Ordering::SeqCst) + 20, Instant::now());
        while done.load(Ordering::SeqCst) < after {
            assert!(begun.elapsed() < PATIENCE, "nothing is written after the crash");
            tokio::task::yield_now().await;
        }
        is_over.store(true, Ordering::SeqCst);
        kept.extend(writers.join_all().await.into_iter().flatten());
        let there: BTreeSet<String> = whole_units(&store).await.into_iter().collect();
        assert_eq!(there, kept, "round {round}: what is there is what was told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarted_while_nobody_asked_is_not_noticed() {
    let server = durable();
    let store = open(&server.fresh_database());
    for round in 0..3 {
        put(&store, &format!("{round}-a")).await.expect("writes");
        assert_eq!(whole_units(&store).await.len(), 2 * round + 1);
        away(|| {
            if round == 1 {
                server.kill()
            } else {
                server.stop()
            }
            server.start_again();
        })
        .await;
        put(&store, &format!("{round}-b")).await.expect("writes at the first attempt");
        assert_eq!(whole_units(&store).await.len(), 2 * round + 2);
        away(|| {
            server.stop();
            server.start_again();
        })
        .await;
        assert_eq!(whole_units(&store).await.len(), 2 * round + 2, "reads at the first attempt");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_away_callers_are_told_at_once_and_work_goes_on_when_it_is_back() {
    let server = durable();
    let store = open(&server.fresh_database());
    put(&store, "before").await.expect("writes");
    whole_units(&store).await;
    away(|| server.stop()).await;
    let begun = Instant::now();
    for number in 0..200 {
        let late = put(&store, &format!("away-{number}")).await;
        assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
        let read = store.read(|snapshot| snapshot.documents().list("test")).await;
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "none of 400 waits for anything: {:?}", begun.elapsed());
    away(|| server.start_again()).await;
    put_once_it_is_back(&store, "after").await;
    let begun = Instant::now();
    while store.read(|snapshot| snapshot.documents().list("test")).await.is_err_and(|_: StoreError| true) {
        assert!(begun.elapsed() < PATIENCE, "reads do not come back");
        tokio::task::yield_now().await;
    }
    assert_eq!(whole_units(&store).await, ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_can_be_closed_while_the_server_is_away() {
    let server = Postgres::start(PostgresOptions::default());
    let (closed, dropped) = (open(&server.fresh_database()), open(&server.fresh_database()));
    for store in [&closed, &dropped] {
        put(store, "before").await.expect("writes");
        whole_units(store).await;
    }
    away(|| server.kill()).await;
    closed.close().await;
    let late = put(&closed, "late").await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    let refused = put(&dropped, "away").await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    away(|| drop(dropped)).await;
}
