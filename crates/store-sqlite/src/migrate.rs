//! The schema and its way forward; see [`store::backend::migrations`].

use store::StoreError;
use store::backend::migrations::{Migration, Missing, missing, number};

use crate::connection::Database;
use crate::failure::failure;

/// In order; the first is number 1.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "initial", sql: include_str!("../migrations/0001_initial.sql") },
    Migration { name: "nodes", sql: include_str!("../migrations/0002_nodes.sql") },
    Migration { name: "kept", sql: include_str!("../migrations/0003_kept.sql") },
];

/// Brings the schema to the newest version this program knows.
///
/// [`StoreError::FromTheFuture`] when a newer program was here; [`StoreError::Corrupt`] when a
/// migration was applied with other content than ours.
pub fn migrate(database: &Database) -> Result<(), StoreError> {
    apply(database, MIGRATIONS)
}

/// The version of the schema that this program writes.
pub fn newest_version() -> u32 {
    number(MIGRATIONS.len())
}

/// The version of the schema that is there, also one that this program does not know; 0 without one.
pub fn version(database: &Database) -> Result<u32, StoreError> {
    Ok(applied(database)?.last().map_or(0, |(version, _)| *version))
}

fn apply(database: &Database, migrations: &[Migration]) -> Result<(), StoreError> {
    let found = applied(database)?;
    missing(&found, migrations)?.into_iter().try_for_each(|missing| step(database, &missing))
}

/// Version and checksum of what was applied, in order; empty for a new file.
fn applied(database: &Database) -> Result<Vec<(u32, String)>, StoreError> {
    let there = database
        .number("SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'", [])?;
    if there == 0 {
        return Ok(Vec::new());
    }
    database.rows("SELECT version, checksum FROM schema_migrations ORDER BY version", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

fn step(database: &Database, missing: &Missing) -> Result<(), StoreError> {
    database.control("BEGIN IMMEDIATE")?;
    let done = (|| {
        let table = "CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)";
        database.sqlite().execute_batch(table).map_err(failure)?;
        database.sqlite().execute_batch(missing.migration.sql).map_err(failure)?;
        database.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES (?1, ?2, ?3)",
            (missing.version, missing.migration.name, &missing.checksum),
        )?;
        database.control("COMMIT")
    })();
    if done.is_err() && database.in_transaction() {
        // The first error is the one to tell.
        let _ = database.control("ROLLBACK");
    }
    done
}

#[cfg(test)]
mod tests {
    use store::backend::migrations::checksum;

    use super::*;
    use crate::SqliteOptions;

    const FIRST: Migration = Migration { name: "first", sql: "CREATE TABLE a (x BIGINT); INSERT INTO a VALUES (1);" };
    const SECOND: Migration = Migration { name: "second", sql: "ALTER TABLE a ADD COLUMN y BIGINT;" };
    const BROKEN: Migration =
        Migration { name: "broken", sql: "CREATE TABLE b (x BIGINT); INSERT INTO nowhere VALUES (1);" };

    fn database(folder: &tempfile::TempDir) -> Database {
        Database::open_writer(&folder.path().join("m.db"), &SqliteOptions::default()).expect("opens")
    }

    #[test]
    fn each_migration_is_applied_once_and_in_order() {
        let folder = tempfile::tempdir().expect("folder");
        let database = database(&folder);
        for _ in 0..2 {
            apply(&database, &[FIRST]).expect("applies");
        }
        apply(&database, &[FIRST, SECOND]).expect("goes on");
        assert_eq!(database.number("SELECT COUNT(*) FROM a WHERE y IS NULL", []).expect("reads"), 1);
        assert_eq!(applied(&database).expect("reads").len(), 2);
    }

    #[test]
    fn a_newer_schema_an_edited_and_a_broken_migration_are_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let database = database(&folder);
        let failed = apply(&database, &[FIRST, BROKEN]).expect_err("the second fails");
        assert!(matches!(failed, StoreError::Backend(_)), "{failed:?}");
        assert_eq!(applied(&database).expect("reads").len(), 1, "the first one is kept");
        let tables = database.number("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'b'", []).expect("reads");
        assert_eq!(tables, 0, "nothing of the broken one");

        apply(&database, &[FIRST, SECOND]).expect("applies");
        let future = apply(&database, &[FIRST]).expect_err("newer");
        assert!(matches!(future, StoreError::FromTheFuture { found: 2, known: 1 }), "{future:?}");
        let edited = Migration { name: "first", sql: "CREATE TABLE a (x TEXT);" };
        let refused = apply(&database, &[edited, SECOND]).expect_err("edited");
        assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
    }

    /// Once released, a migration is never edited: whoever needs another schema adds a migration.
    #[test]
    fn migrations_keep_their_content() {
        let sums: Vec<(&str, String)> =
            MIGRATIONS.iter().map(|migration| (migration.name, checksum(migration.sql))).collect();
        let expected = [("initial", "019ee992652ec50f"), ("nodes", "1b94f306061e29d9"), ("kept", "61c9d30375081ca2")];
        assert_eq!(sums, expected.map(|(name, sum)| (name, sum.to_owned())));
        assert_eq!(newest_version(), 3);
    }
}
