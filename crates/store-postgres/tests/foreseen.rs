//! What is known beforehand turns out to be wrong, because somebody changed the database past the store:
//! nothing of the batch is kept, everybody is told, and the next attempt asks again.

mod support;

use std::sync::Arc;

use model::{Fence, Run, RunState};
use store::testkit::rows::{run, session};
use store::testkit::{read, write};
use store::{Foresight, Store, StoreError};
use support::open;
use testservers::Postgres;
use tokio_postgres::NoTls;

fn running() -> Run {
    Run { state: RunState::Running, owner: Fence(1), ..run("run_1", "agent:main:main") }
}

fn foresight() -> Foresight {
    Foresight { runs: vec![running().id], ..Foresight::default() }
}

/// Removes the run on a connection of its own, as a person with a console might.
async fn remove_run(url: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connects");
    let carried = tokio::spawn(connection);
    client.batch_execute("DELETE FROM runs WHERE run_id = 'run_1'").await.expect("removes");
    drop(client);
    carried.await.expect("no panic").expect("ends in order");
}

/// A unit that goes on with the run, which may be removed in the middle of it, and writes its number into the session.
async fn go_on(store: &Arc<dyn Store>, url: String, is_removed: bool, attempt: i64) -> Result<bool, StoreError> {
    let handle = tokio::runtime::Handle::current();
    store
        .write_foreseen(foresight(), move |tx| {
            if is_removed {
                std::thread::scope(|threads| {
                    threads.spawn(|| handle.block_on(remove_run(&url)));
                });
            }
            tx.sessions_mut().put(&session("agent:main:main", attempt))?;
            tx.runs_mut().update_unfinished(&running())
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_gone_after_all_takes_its_batch_with_it_and_is_looked_for_the_next_time() {
    let url = Postgres::shared().fresh_database();
    let store = open(&url);
    write(&store, |tx| tx.runs_mut().insert(&running())).await;
    assert!(go_on(&store, url.clone(), false, 1).await.expect("it is there"));

    let gone = go_on(&store, url.clone(), true, 2).await;
    assert!(matches!(gone, Err(StoreError::Unavailable(_))), "{gone:?}");
    let stored = read(&store, |snapshot| snapshot.sessions().get(&session("agent:main:main", 0).key)).await;
    assert_eq!(stored, Some(session("agent:main:main", 1)), "nothing else of the unit is kept either");
    assert!(!go_on(&store, url, false, 3).await.expect("it is asked for"), "the run is not there");
}
