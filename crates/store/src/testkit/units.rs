//! What a unit of work and a read are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::place::{Dice, Reopen, Undone, read, write};
use super::rows::at;
use crate::{Document, Outcome, Snapshot, StoreError, Tx};

const KIND: &str = "unit";

fn put(tx: &dyn Tx, id: &str) -> Result<(), StoreError> {
    tx.documents_mut().put(KIND, &Document { id: id.to_owned(), body: json!(id), updated_at: at(1) })
}

fn ids(snapshot: &dyn Snapshot) -> Result<Vec<String>, StoreError> {
    Ok(snapshot.documents().list(KIND)?.into_iter().map(|document| document.id).collect())
}

pub async fn a_unit_that_fails_leaves_nothing(place: &dyn Reopen) {
    let store = place.open().await;
    write(&store, |tx| put(tx, "before")).await;
    let failed = store
        .write(|tx| -> Result<(), Undone> {
            put(tx, "a")?;
            tx.documents_mut().delete(KIND, "before")?;
            put(tx, "b")?;
            Err(Undone::OnPurpose)
        })
        .await;
    assert!(matches!(failed, Err(Undone::OnPurpose)), "{failed:?}");
    assert_eq!(read(&store, ids).await, ["before"]);
}

pub async fn a_unit_sees_its_own_writes(place: &dyn Reopen) {
    let store = place.open().await;
    let seen = write(&store, |tx| {
        put(tx, "a")?;
        let with_a = ids(tx)?;
        tx.documents_mut().delete(KIND, "a")?;
        put(tx, "b")?;
        Ok((with_a, ids(tx)?))
    })
    .await;
    assert_eq!(seen, (vec![String::from("a")], vec![String::from("b")]));
}

pub async fn units_at_once_are_each_kept_whole_or_undone_whole(place: &dyn Reopen) {
    let store = place.open().await;
    for seed in 1..=3 {
        let mut dice = Dice::new(seed);
        let mut tasks = JoinSet::new();
        for number in 0..200_u64 {
            let fate = dice.roll(3);
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let name = format!("{seed}-{number:03}");
                let kept = store
                    .write({
                        let name = name.clone();
                        move |tx| -> Result<(), Undone> {
                            put(tx, &format!("{name}-first"))?;
                            if fate == 0 {
                                return Err(Undone::OnPurpose);
                            }
                            put(tx, &format!("{name}-second"))?;
                            if fate == 1 { Err(Undone::OnPurpose) } else { Ok(()) }
                        }
                    })
                    .await;
                assert_eq!(kept.is_ok(), fate == 2, "seed {seed}: {kept:?}");
                (fate == 2).then_some(name)
            });
        }
        let kept = tasks.join_all().await.into_iter().flatten();
        let mut expected: Vec<String> =
            kept.flat_map(|name| [format!("{name}-first"), format!("{name}-second")]).collect();
        expected.sort();
        let found = read(&store, move |snapshot| {
            Ok(ids(snapshot)?.into_iter().filter(|id| id.starts_with(&format!("{seed}-"))).collect())
        })
        .await;
        let found: Vec<String> = found;
        assert_eq!(found, expected, "seed {seed}");
    }
}

pub async fn a_panic_ends_only_its_own_unit(place: &dyn Reopen) {
    let store = place.open().await;
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let done: Result<(), StoreError> = store
                .write(move |tx| {
                    put(tx, &format!("{number:02}"))?;
                    assert!(number % 3 != 0, "the unit panics on purpose");
                    Ok(())
                })
                .await;
            assert_eq!(done.is_ok(), number % 3 != 0, "unit {number}: {done:?}");
        });
    }
    tasks.join_all().await;
    let expected: Vec<String> = (0..60).filter(|number| number % 3 != 0).map(|number| format!("{number:02}")).collect();
    assert_eq!(read(&store, ids).await, expected);

    for _ in 0..8 {
        let failed: Result<(), StoreError> = store.read(|_| panic!("the read panics on purpose")).await;
        assert!(failed.is_err());
    }
    assert_eq!(read(&store, ids).await, expected);
}

pub async fn a_read_sees_one_moment(place: &dyn Reopen) {
    let store = place.open().await;
    write(&store, |tx| put(tx, "old")).await;
    let (begun, has_begun) = oneshot::channel();
    let (written, is_written) = mpsc::sync_channel(1);
    let reading = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            read(&store, move |snapshot| {
                let first = ids(snapshot)?;
                begun.send(()).expect("the contract waits for it");
                is_written.recv().expect("the contract sends it");
                Ok((first, ids(snapshot)?))
            })
            .await
        }
    });
    has_begun.await.expect("the read runs");
    write(&store, |tx| put(tx, "new")).await;
    written.send(()).expect("the read waits for it");
    let old = vec![String::from("old")];
    assert_eq!(reading.await.expect("the read ends"), (old.clone(), old));
    assert_eq!(read(&store, ids).await, ["new", "old"]);
}

pub async fn a_write_is_seen_by_every_later_read(place: &dyn Reopen) {
    let store = place.open().await;
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for number in 0..25 {
                let id = format!("{task}-{number}");
                write(&store, {
                    let id = id.clone();
                    move |tx| put(tx, &id)
                })
                .await;
                let found = read(&store, move |snapshot| snapshot.documents().get(KIND, &id)).await;
                assert!(found.is_some(), "task {task} does not see its write {number}");
            }
        });
    }
    tasks.join_all().await;
}

pub async fn queued_units_run_in_order_though_nobody_waits(place: &dyn Reopen) {
    let store = place.open().await;
    for number in 0..40 {
        let unit = Box::new(move |tx: Result<&dyn Tx, StoreError>| {
            let tx = tx.expect("the store is open");
            let before = ids(tx).expect("reads").len();
            put(tx, &format!("{number:02}-after-{before:02}")).expect("writes");
            Outcome::Commit(Box::new(|_| {}))
        });
        store.submit(unit).await;
    }
    let expected: Vec<String> = (0..40).map(|number| format!("{number:02}-after-{number:02}")).collect();
    assert_eq!(write(&store, |tx| ids(tx)).await, expected);
}

pub async fn closing_finishes_what_is_queued_and_refuses_the_rest(place: &dyn Reopen) {
    let store = place.open().await;
    let kept = Arc::new(AtomicUsize::new(0));
    for number in 0..40 {
        let kept = Arc::clone(&kept);
        let unit = Box::new(move |tx: Result<&dyn Tx, StoreError>| {
            put(tx.expect("the store is open"), &number.to_string()).expect("writes");
            Outcome::Commit(Box::new(move |committed: Result<(), StoreError>| {
                committed.expect("commits");
                kept.fetch_add(1, Ordering::SeqCst);
            }))
        });
        store.submit(unit).await;
    }
    store.close().await;
    assert_eq!(kept.load(Ordering::SeqCst), 40);
    let late: Result<(), StoreError> = store.write(|tx| put(tx, "late")).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    let late: Result<Vec<String>, StoreError> = store.read(ids).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    store.close().await;
    drop(store);
    assert_eq!(read(&place.open().await, ids).await.len(), 40);
}
