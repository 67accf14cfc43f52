//! Opening, closing, refusing a second owner, copies and checks of a database file.

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use serde_json::json;
use store::{Document, Outcome, Store, StoreError};
use store_sqlite::{SqliteOptions, SqliteStore};

fn open(folder: &tempfile::TempDir) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(folder.path().join("patchbay.db"), SqliteOptions::default()).expect("opens"))
}

fn document(id: &str) -> Document {
    Document { id: id.to_owned(), body: json!({ "id": id }), updated_at: Timestamp::from_ms(1) }
}

async fn put(store: &Arc<dyn Store>, id: &'static str) -> Result<(), StoreError> {
    store.write(move |tx| tx.documents_mut().put("test", &document(id))).await
}

async fn ids(store: &Arc<dyn Store>) -> Vec<String> {
    let list = store.read(|snapshot| snapshot.documents().list("test")).await;
    list.map_err(|error: StoreError| error).expect("reads").into_iter().map(|document| document.id).collect()
}

#[tokio::test]
async fn a_second_owner_is_refused_while_the_first_lives() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("patchbay.db");
    let first = open(&folder);
    let refused = SqliteStore::open(&path, SqliteOptions::default()).expect_err("in use").to_string();
    assert!(refused.contains(&format!("is in use by process {}", std::process::id())), "{refused}");
    drop(first);
    SqliteStore::open(&path, SqliteOptions::default()).expect("free again");
}

#[tokio::test]
async fn closing_keeps_everything_in_one_file_and_refuses_what_comes_after() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(&folder);
    put(&store, "a").await.expect("writes");
    assert_eq!(ids(&store).await, ["a"]);
    store.close().await;
    store.close().await;
    let late = put(&store, "b").await.expect_err("closed");
    assert!(matches!(late, StoreError::Unavailable(_)), "{late:?}");
    let late = store.read(|snapshot| snapshot.documents().list("test")).await.map_err(|error: StoreError| error);
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    let mut left: Vec<String> = std::fs::read_dir(folder.path())
        .expect("lists")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
        .collect();
    left.sort();
    assert_eq!(left, ["patchbay.db", "patchbay.db.lock"]);
    assert_eq!(ids(&open(&folder)).await, ["a"]);
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("folder");
    let store = open(&folder);
    put(&store, "a").await.expect("writes");
    for name in ["patchbay.db", "patchbay.db-wal"] {
        let mode = std::fs::metadata(folder.path().join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_copy_made_while_writing_is_whole_and_never_overwrites() {
    let folder = tempfile::tempdir().expect("folder");
    let store =
        Arc::new(SqliteStore::open(folder.path().join("patchbay.db"), SqliteOptions::default()).expect("opens"));
    let shared: Arc<dyn Store> = store.clone();
    put(&shared, "before").await.expect("writes");
    let copy = folder.path().join("copy.db");
    let busy = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move {
            for _ in 0..200 {
                put(&shared, "during").await.expect("writes");
            }
        }
    });
    store.backup_to(&copy).await.expect("copies");
    busy.await.expect("writer");
    store.integrity().await.expect("whole");
    store_sqlite::integrity(&copy).expect("whole");
    let again = store.backup_to(&copy).await.expect_err("there already");
    assert!(matches!(again, StoreError::Conflict(_)), "{again:?}");

    let restored: Arc<dyn Store> = Arc::new(SqliteStore::open(&copy, SqliteOptions::default()).expect("opens"));
    assert!(ids(&restored).await.contains(&String::from("before")));
}

#[tokio::test]
async fn a_damaged_file_is_told_and_not_opened_as_new() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("patchbay.db");
    std::fs::write(&path, "this is not a database, but it is long enough to look like one".repeat(100))
        .expect("writes");
    let refused = SqliteStore::open(&path, SqliteOptions::default()).expect_err("refused");
    assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
    assert!(store_sqlite::integrity(&path).is_err());
}

#[tokio::test]
async fn another_program_that_holds_the_file_makes_writes_unavailable_only_while_it_does() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("patchbay.db");
    let options = SqliteOptions { busy_timeout: Duration::from_millis(1), ..SqliteOptions::default() };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, options).expect("opens"));
    put(&store, "before").await.expect("writes");
    let other = rusqlite::Connection::open(&path).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("holds");
    let refused = put(&store, "during").await.expect_err("held");
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert_eq!(ids(&store).await, ["before"], "reads go on");
    other.execute_batch("COMMIT").expect("lets go");
    put(&store, "later").await.expect("writes again");
    assert_eq!(ids(&store).await, ["before", "later"]);
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let options = SqliteOptions { write_queue: 2, read_queue: 1, readers: 1, batch_max: 3, ..SqliteOptions::default() };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path().join("patchbay.db"), options).expect("opens"));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let document = document(&format!("{number:03}"));
            let id = document.id.clone();
            store
                .write(move |tx| tx.documents_mut().put("test", &document))
                .await
                .map_err(|error: StoreError| error)
                .expect("writes");
            let found = store.read(move |snapshot| snapshot.documents().get("test", &id)).await;
            assert!(found.map_err(|error: StoreError| error).expect("reads").is_some());
        });
    }
    tasks.join_all().await;
    assert_eq!(ids(&store).await.len(), 100);
}

/// Threads end with the store, whether or not it was closed, and also when its last owner is one of them.
#[tokio::test]
async fn the_last_owner_may_be_a_unit_of_work() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("patchbay.db");
    for writes in [true, false] {
        let store = open(&folder);
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let last = Arc::clone(&store);
        if writes {
            store
                .submit(Box::new(move |_| {
                    Outcome::Commit(Box::new(move |_| {
                        drop(last);
                        let _ = ended.send(());
                    }))
                }))
                .await;
        } else {
            store
                .submit_read(Box::new(move |_| {
                    drop(last);
                    let _ = ended.send(());
                }))
                .await;
        }
        drop(store);
        has_ended.await.expect("the job ran");
        // Whichever of the two was last has ended the store by now or is about to.
        while let Err(StoreError::Unavailable(_)) = SqliteStore::open(&path, SqliteOptions::default()) {
            tokio::task::yield_now().await;
        }
    }
}

/// `mount -t tmpfs -o size=4m none DIR`, then `PATCHBAY_SMALL_DISK=DIR cargo nextest run -p store-sqlite --run-ignored all small_disk`.
#[tokio::test]
#[ignore = "needs a file system of a few MiB"]
async fn a_small_disk_that_is_full_is_told_and_written_again_once_there_is_room() {
    let place = std::env::var_os("PATCHBAY_SMALL_DISK").expect("PATCHBAY_SMALL_DISK names a small file system");
    let folder = tempfile::tempdir_in(place).expect("folder");
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![1; 1 << 20]).expect("writes");
    let store = open(&folder);
    let mut kept = 0;
    let refused = loop {
        let document = Document { body: json!("x".repeat(100_000)), ..document(&format!("{kept:05}")) };
        match store.write(move |tx| tx.documents_mut().put("test", &document)).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(kept > 0 && matches!(refused, StoreError::NotWritable(_)), "{kept}: {refused:?}");
    for _ in 0..5 {
        let big = Document { body: json!("x".repeat(200_000)), ..document("big") };
        store
            .write(move |tx| tx.documents_mut().put("test", &big))
            .await
            .map_err(|error: StoreError| error)
            .expect_err("still full");
    }
    assert_eq!(ids(&store).await.len(), kept);
    std::fs::remove_file(ballast).expect("removes");
    put(&store, "room").await.expect("writes again");
    assert_eq!(ids(&store).await.len(), kept + 1);
    drop(store);
    assert_eq!(ids(&open(&folder)).await.len(), kept + 1);
}
