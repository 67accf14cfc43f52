//! All rows of a database on their way into a file of SQLite, and back into another database.

mod support;

use std::path::Path;
use std::sync::Arc;

use model::{Cursor, NewMessage, RunId};
use store::backend::portable::{Cell, TABLES, Table};
use store::testkit::everything::{KEY, everything, fill, node};
use store::testkit::rows::{ODD_TEXTS, agent, at, big_text, key, run, session};
use store::testkit::{read, write};
use store::{Document, Fact, MessagePage, SearchQuery, Snapshot, Store, StoreError, Tx};
use store_postgres::{Import, PostgresOptions, PostgresStore, export};
use store_sqlite::{SqliteOptions, SqliteStore};
use support::{open, put, whole_units};
use testservers::Postgres;

type Rows = Vec<(&'static str, Vec<Cell>)>;

/// Rows of all tables in an order that does not depend on where they are kept.
fn sorted(mut rows: Rows) -> Rows {
    rows.sort_by_cached_key(|row| format!("{row:?}"));
    rows
}

fn rows_of_server(url: &str) -> Rows {
    let mut rows = Rows::new();
    let take = &mut |table: &'static Table, row: &[Cell]| {
        rows.push((table.name, row.to_vec()));
        Ok(())
    };
    export(url, &PostgresOptions::default(), take).expect("gives its rows");
    sorted(rows)
}

fn rows_of_file(path: &Path) -> Rows {
    let mut rows = Rows::new();
    let take = &mut |table: &'static Table, row: &[Cell]| {
        rows.push((table.name, row.to_vec()));
        Ok(())
    };
    store_sqlite::export(path, take).expect("gives its rows");
    sorted(rows)
}

fn into_file(url: &str, path: &Path) {
    let mut import = store_sqlite::Import::create(path).expect("a new file");
    export(url, &PostgresOptions::default(), &mut |table, row| import.put(table, row)).expect("goes into the file");
    import.finish().expect("ends");
}

fn into_server(path: &Path, url: &str) {
    let mut import = Import::begin(url, &PostgresOptions::default()).expect("an empty database");
    store_sqlite::export(path, &mut |table, row| import.put(table, row)).expect("goes into the database");
    let counts = import.finish().expect("ends");
    assert_eq!(counts, store_sqlite::contents(path).expect("reads").rows);
    import.commit().expect("is kept");
}

/// What breaks careless copies.
fn odd(tx: &dyn Tx) -> Result<(), StoreError> {
    for (number, text) in ODD_TEXTS.into_iter().chain(["\u{10}", "\u{10}\u{11}", "\\N", "\\."]).enumerate() {
        tx.facts_mut().insert(&Fact {
            id: format!("odd_{number}"),
            agent: agent("odd"),
            text: text.to_owned(),
            normalised: format!("{number}{text}"),
            session: None,
            source: text.to_owned(),
            created_at: at(1),
        })?;
        let session = session("agent:odd:main", 1);
        let id = model::MessageId::trusted(format!("odd_{number}"));
        tx.messages_mut().append((&session.key, &session.id), &id, None, at(1), &NewMessage::user(text))?;
    }
    let body = serde_json::json!({ "text": ODD_TEXTS, "big": big_text() });
    tx.documents_mut().put("odd", &Document { id: String::from("x"), body, updated_at: at(1) })
}

fn odd_facts(snapshot: &dyn Snapshot) -> Result<Vec<Fact>, StoreError> {
    snapshot.facts().list(&agent("odd"), 100)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_into_a_file_and_from_there_into_another_database() {
    let server = Postgres::shared();
    let (from, to) = (server.fresh_database(), server.fresh_database());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("portable.db");
    let store = open(&from);
    write(&store, fill).await;
    write(&store, odd).await;
    let (expected, facts) = (read(&store, everything).await, read(&store, odd_facts).await);

    let (rows, restored) = tokio::task::block_in_place(|| {
        into_file(&from, &file);
        store_sqlite::integrity(&file).expect("in order");
        let names: Vec<_> = std::fs::read_dir(folder.path()).expect("reads").collect();
        assert_eq!(names.len(), 1, "all of it is in one file: {names:?}");
        into_server(&file, &to);
        let rows = rows_of_server(&from);
        for table in &TABLES {
            assert!(rows.iter().any(|(name, _)| *name == table.name), "an empty `{}` proves nothing", table.name);
        }
        assert!(rows_of_file(&file) == rows, "the file holds other rows");
        assert!(rows_of_server(&to) == rows, "the other database holds other rows");
        (rows, open(&to))
    });
    assert!(rows.len() > 30, "{}", rows.len());

    let copy: Arc<dyn Store> = Arc::new(SqliteStore::open(&file, SqliteOptions::default()).expect("opens"));
    for store in [copy, restored] {
        assert_eq!(read(&store, everything).await, expected, "{}", store.describe());
        assert_eq!(read(&store, odd_facts).await, facts, "{}", store.describe());
        goes_on(&store, expected.last_cursor).await;
    }
}

/// What comes next stands behind what came from elsewhere: cursors, fences, and the order of rows.
async fn goes_on(store: &Arc<dyn Store>, last_cursor: u64) {
    let (fence, cursor) = write(store, |tx| {
        let main = session(KEY, 5);
        let id = model::MessageId::trusted("next");
        tx.messages_mut().append((&main.key, &main.id), &id, None, at(50), &NewMessage::user("zebra"))?;
        tx.runs_mut().insert(&run("run_next", KEY))?;
        let cursor = tx.events_mut().append(at(50), &store::testkit::everything::event())?;
        Ok((tx.nodes_mut().join(&node("next"))?, cursor))
    })
    .await;
    assert_eq!((fence.0, cursor), (2, Cursor(last_cursor + 1)), "{}", store.describe());
    let (page, hits, runs) = read(store, |snapshot| {
        let query = SearchQuery {
            agent: agent("main"),
            session: None,
            text: String::from("zebra"),
            roles: Vec::new(),
            limit: 10,
        };
        let page = snapshot.messages().page(&session(KEY, 1).id, &MessagePage::default())?;
        Ok((page, snapshot.messages().search(&query)?.len(), snapshot.runs().unfinished_of(&key(KEY))?))
    })
    .await;
    assert_eq!((page.last().map(|message| message.seq), hits), (Some(4), 1), "{}", store.describe());
    let runs: Vec<RunId> = runs.into_iter().map(|run| run.id).collect();
    assert_eq!(runs, ["run_2", "run_3", "run_next"].map(RunId::trusted), "{}", store.describe());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_those_of_one_moment_whoever_writes_meanwhile() {
    let url = Postgres::shared().fresh_database();
    let store = open(&url);
    for name in ["a", "b"] {
        put(&store, name).await.expect("writes");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("portable.db");
    let mut import = store_sqlite::Import::create(&file).expect("a new file");
    let runtime = tokio::runtime::Handle::current();
    let giver = std::thread::spawn({
        let store = Arc::clone(&store);
        move || {
            let mut seen = 0;
            let given = export(&url, &PostgresOptions::default(), &mut |table, row| {
                // Another node commits between any two rows.
                seen += 1;
                runtime.block_on(put(&store, &format!("late {seen}")))?;
                import.put(table, row)
            });
            given.and_then(|()| import.finish()).map(|()| seen)
        }
    });
    let seen: usize = giver.join().expect("no panic").expect("gives");
    let rows = store_sqlite::contents(&file).expect("reads").rows;
    assert_eq!((rows["documents"], rows["messages"], rows["events"], rows["transcripts"]), (2, 2, 2, 1));
    assert_eq!(whole_units(&store).await.len(), 2 + seen);
    let copy: Arc<dyn Store> = Arc::new(SqliteStore::open(&file, SqliteOptions::default()).expect("opens"));
    assert_eq!(whole_units(&copy).await, ["a", "b"]);
}

fn refused(url: &str) -> StoreError {
    Import::begin(url, &PostgresOptions::default()).err().expect("refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_holds_data_takes_no_rows_and_keeps_its_own() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    let store = open(&url);
    // With a schema and without a row it is empty.
    tokio::task::block_in_place(|| drop(Import::begin(&url, &PostgresOptions::default()).expect("empty")));
    put(&store, "a").await.expect("writes");
    tokio::task::block_in_place(|| {
        let error = refused(&url);
        let text = error.to_string();
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        assert!(text.contains("holds data already") && text.contains("createdb"), "{text}");
        assert!(text.contains(&PostgresStore::shown(&url).expect("an address")), "{text}");
    });
    assert_eq!(whole_units(&store).await, ["a"]);
}

#[test]
fn what_is_not_committed_leaves_nothing_not_even_a_table() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    let name = url.rsplit('/').next().expect("a name");
    let row = [Cell::Text(String::from("x")), Cell::Number(1)];
    let mut import = Import::begin(&url, &PostgresOptions::default()).expect("empty");
    import.put(&TABLES[0], &row).expect("takes a row");
    import.finish().expect("ends");
    drop(import);
    let mut import = Import::begin(&url, &PostgresOptions::default()).expect("still empty");
    import.put(&TABLES[0], &row).expect("takes a row");
    import.put(&TABLES[0], &row).expect("the server has not looked at it yet");
    let error = import.finish().expect_err("twice the same");
    assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
    drop(import);
    // Both connections have ended by the time that the lock can be had.
    drop(Import::begin(&url, &PostgresOptions::default()).expect("still empty"));
    assert_eq!(server.sql(name, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
}

#[test]
fn only_todays_schema_gives_rows() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    let name = url.rsplit('/').next().expect("a name");
    let given = || export(&url, &PostgresOptions::default(), &mut |_, _| Ok(())).expect_err("refused");
    let error = given();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("it is empty")), "{error:?}");
    drop(PostgresStore::open(&url, PostgresOptions::default()).expect("makes the schema"));
    server.sql(name, "INSERT INTO schema_migrations VALUES (99, 'later', 'x')");
    for error in [given(), refused(&url)] {
        assert!(matches!(error, StoreError::FromTheFuture { found: 99, .. }), "{error:?}");
    }
}

/// A column that is not in the list would be lost on the way into another database.
#[test]
fn the_portable_form_has_every_column_but_those_that_are_made_anew() {
    let server = Postgres::shared();
    let url = server.fresh_database();
    drop(PostgresStore::open(&url, PostgresOptions::default()).expect("makes the schema"));
    let sql = "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public' \
        AND table_name NOT IN ('schema_migrations', 'batches') AND is_generated = 'NEVER'";
    let found = server.sql(url.rsplit('/').next().expect("a name"), sql);
    let mut found: Vec<String> = found.lines().map(str::to_owned).collect();
    found.sort_unstable();
    let columns =
        TABLES.iter().flat_map(|table| table.columns.iter().map(|(name, _)| format!("{}.{name}", table.name)));
    let mut expected: Vec<String> = columns.chain([String::from("messages.words")]).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
