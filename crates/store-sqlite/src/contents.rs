//! What a database file holds, and making a copy of one ready for another life.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::OptionalExtension;
use store::StoreError;

use crate::SqliteOptions;
use crate::connection::Database;
use crate::failure::failure;
use crate::migrate;

/// What is in a database, for comparing it with a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The version of the schema, 0 without one.
    pub schema: u32,
    /// The id of the cluster, once a gateway was here.
    pub cluster: Option<String>,
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
}

/// Counts what the existing database at `path` holds. Reads every table once; newer schemas too.
pub fn contents(path: &Path) -> Result<Contents, StoreError> {
    let database = Database::open_reader(path, &SqliteOptions::default())?;
    database.control("BEGIN")?;
    let schema = migrate::version(&database)?;
    // The index of words is made of several tables whose rows are no rows of ours.
    let tables: Vec<String> = database.rows(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         AND name NOT LIKE 'message\\_words%' ESCAPE '\\' AND name <> 'schema_migrations' ORDER BY name",
        [],
        |row| row.get(0),
    )?;
    let mut rows = BTreeMap::new();
    for table in tables {
        let sql = format!("SELECT COUNT(*) FROM \"{}\"", table.replace('"', "\"\""));
        rows.insert(table, database.number(&sql, [])?);
    }
    let cluster = if rows.contains_key("documents") { cluster(&database)? } else { None };
    Ok(Contents { schema, cluster, rows })
}

fn cluster(database: &Database) -> Result<Option<String>, StoreError> {
    let sql = "SELECT body ->> '$.id' FROM documents WHERE kind = 'cluster' AND document_id = 'id'";
    let id = database.sqlite().query_row(sql, [], |row| row.get::<_, Option<String>>(0)).optional();
    id.map(Option::flatten).map_err(failure)
}

/// Makes the copy of a database at `path`, which nobody has open, ready for its next gateway.
///
/// Its schema is brought up to date. Whoever drove runs is forgotten, so that the next gateway takes
/// them up. With `new_cluster` the id of the cluster is forgotten too, and the next gateway makes one.
/// Afterwards all of it is in the one file.
pub fn settle(path: &Path, new_cluster: bool) -> Result<(), StoreError> {
    let database = Database::open_writer(path, &SqliteOptions::default())?;
    migrate::migrate(&database)?;
    database.begin()?;
    let forgotten = ["DELETE FROM session_holds", "DELETE FROM nodes"];
    let cluster = "DELETE FROM documents WHERE kind = 'cluster' AND document_id = 'id'";
    for sql in forgotten.into_iter().chain(new_cluster.then_some(cluster)) {
        database.execute(sql, [])?;
    }
    database.control("COMMIT")?;
    database.row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    database.row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(folder: &tempfile::TempDir, name: &str) -> (std::path::PathBuf, Database) {
        let path = folder.path().join(name);
        let database = Database::open_writer(&path, &SqliteOptions::default()).expect("opens");
        migrate::migrate(&database).expect("migrates");
        (path, database)
    }

    #[test]
    fn every_table_is_counted_and_the_index_of_words_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, database) = database(&folder, "a.db");
        let sql = "INSERT INTO documents VALUES ('cluster', 'id', '{\"id\":\"c1\"}', 1), ('k', 'a', '1', 1)";
        database.sqlite().execute_batch(sql).expect("writes");
        let found = contents(&path).expect("reads");
        assert_eq!((found.schema, found.cluster.as_deref()), (crate::newest_version(), Some("c1")));
        assert_eq!(found.rows["documents"], 2);
        let tables: Vec<&str> = found.rows.keys().map(String::as_str).collect();
        let expected = [
            "counters",
            "documents",
            "events",
            "facts",
            "kept",
            "messages",
            "nodes",
            "run_inputs",
            "runs",
            "session_holds",
            "sessions",
            "tokens",
            "tool_calls",
            "transcripts",
        ];
        assert_eq!(tables, expected);
    }

    #[test]
    fn a_settled_copy_belongs_to_nobody_and_is_one_file() {
        let folder = tempfile::tempdir().expect("a folder");
        for new_cluster in [false, true] {
            let (path, database) = database(&folder, &format!("{new_cluster}.db"));
            let sql = "INSERT INTO documents VALUES ('cluster', 'id', '{\"id\":\"c1\"}', 1); \
                INSERT INTO session_holds VALUES ('agent:main:main', 1); \
                INSERT INTO nodes VALUES (1, 'n', 'h', 'v', 1, '{}', 1, 1, 1, 0)";
            database.sqlite().execute_batch(sql).expect("writes");
            drop(database);
            settle(&path, new_cluster).expect("settles");
            let found = contents(&path).expect("reads");
            assert_eq!((found.rows["nodes"], found.rows["session_holds"]), (0, 0));
            assert_eq!(found.cluster.is_none(), new_cluster);
            assert!(!path.with_extension("db-wal").exists());
        }
    }
}
