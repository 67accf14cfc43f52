//! A connection that ends while the answer to a commit is on its way: the truth is told, later.

mod support;

use std::sync::Arc;

use model::Cursor;
use store::StoreError;
use store::testkit::Heard;
use support::proxy::{Cut, Proxy};
use support::{open, put, whole_units};
use testservers::Postgres;

/// What the writer was told of a commit whose wire was cut, with the names in the log before and after.
async fn told(trick: Cut) -> (Result<Cursor, StoreError>, Vec<String>) {
    let server = Postgres::shared();
    let proxy = Proxy::before(server.port());
    let url = server.fresh_database();
    let through_proxy = format!("{}?sslmode=disable", url.replace(&server.port().to_string(), &proxy.port.to_string()));
    let store = open(&through_proxy);
    let heard = Arc::new(Heard::default());
    store.announce_to(heard.clone());
    put(&store, "before").await.expect("writes");
    proxy.play(trick);
    let told = put(&store, "cut").await;
    assert!(proxy.is_done(), "the commit was met");
    put(&store, "after").await.expect("the connection was made anew");

    let names = whole_units(&store).await;
    let log = store.read(|snapshot| snapshot.events().after(Cursor(0), 100)).await;
    assert_eq!(heard.all(), log.map_err(|error: StoreError| error).expect("reads"), "what was announced is the log");
    (told, names)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_told_as_kept() {
    let (told, names) = told(Cut::AfterCommit).await;
    assert_eq!(told.expect("it was committed"), Cursor(2));
    assert_eq!(names, ["before", "cut", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrived_is_told_as_undone() {
    let (told, names) = told(Cut::BeforeCommit).await;
    assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
    assert_eq!(names, ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_arrives_late_is_told_as_what_became_of_it() {
    let (told, names) = told(Cut::Late).await;
    match told {
        Ok(cursor) => assert_eq!((cursor, names.join(" ")), (Cursor(2), String::from("before cut after"))),
        Err(StoreError::Unavailable(_)) => assert_eq!(names, ["before", "after"]),
        Err(other) => panic!("{other:?}"),
    }
}
