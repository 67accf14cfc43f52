//! Databases of former versions, opened by this one.
//!
//! `schema_<n>.sql` holds rows of every table as the last program with schema `n` wrote them. Before a
//! schema is left behind, `cargo test -p store-sqlite --test released -- --ignored` writes the file of
//! the present one; from then on it is never edited.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Cursor, Fence, RunId};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use store::Store;
use store::backend::migrations::checksum;
use store::testkit::everything::{self as rows, KEY, everything, fill};
use store::testkit::rows::{at, key};
use store::testkit::{read, write};
use store_sqlite::{SqliteOptions, SqliteStore};

/// The first migrations, by name and text; as many as a schema has steps.
const STEPS: [(&str, &str); 3] = [
    ("initial", include_str!("../../migrations/0001_initial.sql")),
    ("nodes", include_str!("../../migrations/0002_nodes.sql")),
    ("kept", include_str!("../../migrations/0003_kept.sql")),
];

/// Schemas that were released, and the rows that were written in them.
const RELEASED: [(usize, &str); 2] = [(1, include_str!("schema_1.sql")), (2, include_str!("schema_2.sql"))];

/// A database as a program with this schema left it.
fn former(path: &Path, schema: usize, rows: &str) {
    let sqlite = Connection::open(path).expect("opens");
    let table =
        "CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)";
    sqlite.execute_batch(table).expect("a table");
    for (number, (name, sql)) in STEPS.iter().take(schema).enumerate() {
        sqlite.execute_batch(sql).expect("the schema is made");
        let sql = "INSERT INTO schema_migrations VALUES (?1, ?2, ?3)";
        let version = i64::try_from(number + 1).expect("small");
        sqlite.execute(sql, (version, name, checksum(STEPS[number].1))).expect("noted");
    }
    sqlite.execute_batch(rows).expect("the rows are written");
}

fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, SqliteOptions::default()).expect("opens"))
}

#[test]
fn every_released_schema_has_its_rows_here() {
    assert_eq!(STEPS.len(), store_sqlite::newest_version() as usize, "STEPS lacks a migration");
    let schemas: Vec<usize> = RELEASED.iter().map(|(schema, _)| *schema).collect();
    assert_eq!(schemas, (1..STEPS.len()).collect::<Vec<_>>(), "a schema was left behind without its rows");
}

#[tokio::test]
async fn what_former_programs_wrote_is_read_as_it_was_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let today = open(&folder.path().join("today.db"));
    write(&today, fill).await;
    let expected = read(&today, everything).await;
    for (schema, rows) in RELEASED {
        let path = folder.path().join(format!("schema_{schema}.db"));
        former(&path, schema, rows);
        let before = store_sqlite::contents(&path).expect("reads");
        assert_eq!(before.schema as usize, schema);
        assert!(before.rows.values().all(|rows| *rows > 0), "an empty table proves nothing: {before:?}");

        let store = open(&path);
        assert_eq!(read(&store, everything).await, expected, "schema {schema}");
        store.close().await;
        store_sqlite::integrity(&path).expect("in order");
        let after = store_sqlite::contents(&path).expect("reads");
        assert_eq!(after.schema, store_sqlite::newest_version());
        for (table, count) in before.rows {
            assert_eq!(after.rows[&table], count, "rows of {table}");
        }

        // It goes on where it was: cursors, and runs that nobody drives.
        let store = open(&path);
        let (owner, orphans, cursor) = write(&store, |tx| {
            let owner = tx.nodes_mut().join(&rows::node("next"))?;
            let orphans = tx.runs_mut().adopt(owner)?;
            Ok((owner, orphans, tx.events_mut().append(at(99), &rows::event())?))
        })
        .await;
        assert_eq!((orphans, cursor), (2, Cursor(expected.last_cursor + 1)), "schema {schema}");
        let runs = read(&store, |snapshot| snapshot.runs().unfinished_of(&key(KEY))).await;
        let owners: Vec<(RunId, Fence)> = runs.into_iter().map(|run| (run.id, run.owner)).collect();
        assert_eq!(owners, [(RunId::trusted("run_2"), owner), (RunId::trusted("run_3"), owner)]);
    }
}

#[test]
fn a_copy_of_a_former_program_is_brought_up_to_date_when_it_is_settled() {
    let folder = tempfile::tempdir().expect("a folder");
    for (schema, rows) in RELEASED {
        let path = folder.path().join(format!("schema_{schema}.db"));
        former(&path, schema, rows);
        store_sqlite::settle(&path, false).expect("settles");
        let after = store_sqlite::contents(&path).expect("reads");
        assert_eq!(after.schema, store_sqlite::newest_version());
        assert_eq!((after.rows["runs"], after.cluster.as_deref()), (3, Some("cluster-1")));
    }
}

/// See the [module](self).
#[tokio::test]
#[ignore = "writes the rows of the present schema into the sources, once before a migration is added"]
async fn write_the_rows_of_the_present_schema() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("today.db");
    let store = open(&path);
    write(&store, fill).await;
    store.close().await;
    let sqlite = Connection::open(&path).expect("opens");
    let tables: Vec<String> = store_sqlite::contents(&path).expect("reads").rows.into_keys().collect();
    let mut text = String::new();
    // Rows that belong to others come after these.
    let (first, rest): (Vec<String>, Vec<String>) = tables.into_iter().partition(|table| table == "runs");
    for table in first.into_iter().chain(rest) {
        let mut statement = sqlite.prepare(&format!("SELECT * FROM {table}")).expect("a table of ours");
        let columns = statement.column_names().collect::<Vec<_>>().join(", ");
        let width = statement.column_count();
        let mut found = statement.query([]).expect("reads");
        while let Some(row) = found.next().expect("reads") {
            let values: Vec<String> =
                (0..width).map(|column| literal(row.get_ref(column).expect("a column"))).collect();
            text.push_str(&format!("INSERT INTO {table} ({columns}) VALUES ({});\n", values.join(", ")));
        }
    }
    // The index gives its words to nobody: they are those of the messages.
    text.push_str("INSERT INTO message_words (rowid, words) SELECT ordinal, content ->> '$' FROM messages WHERE role IN ('user', 'assistant');\n");
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/released/schema_{}.sql", store_sqlite::newest_version()));
    assert!(!target.exists(), "{} is never edited", target.display());
    std::fs::write(target, text).expect("writes");
}

fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::from("NULL"),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text).replace('\'', "''")),
        other => panic!("no column of ours holds {other:?}"),
    }
}
