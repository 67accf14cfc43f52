//! The schema and its way forward; see [`store::backend::migrations`].

use store::StoreError;
use store::backend::migrations::{Migration, missing, number};

use crate::columns::{get, small_count, text};
use crate::connection::Database;
use crate::values::values;

/// In order; the first is number 1.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "initial", sql: include_str!("../migrations/0001_initial.sql") },
    Migration { name: "kept", sql: include_str!("../migrations/0002_kept.sql") },
    Migration { name: "sessions_by_hour", sql: include_str!("../migrations/0003_sessions_by_hour.sql") },
];

/// What nodes that start at the same time lock, so that one of them makes the schema: "patchmig" in ASCII.
const LOCK: i64 = 0x7061_7463_686d_6967;

/// Brings the schema to the newest version this program knows, all of the way or not at all. Needs the
/// right to make tables only when something is missing.
///
/// [`StoreError::FromTheFuture`] when a newer program was here; [`StoreError::Corrupt`] when a
/// migration was applied with other content than ours.
pub fn migrate(database: &Database) -> Result<(), StoreError> {
    apply(database, MIGRATIONS)
}

/// The same inside the transaction at hand.
pub fn migrate_within(database: &Database) -> Result<(), StoreError> {
    steps(database, MIGRATIONS)
}

/// The version of the schema that this program writes.
pub fn newest_version() -> u32 {
    number(MIGRATIONS.len())
}

/// The version of the schema that is there; 0 for an empty database.
pub fn version(database: &Database) -> Result<u32, StoreError> {
    let applied = applied(database)?;
    missing(&applied, MIGRATIONS)?;
    Ok(applied.last().map_or(0, |(version, _)| *version))
}

fn apply(database: &Database, migrations: &[Migration]) -> Result<(), StoreError> {
    if missing(&applied(database)?, migrations)?.is_empty() {
        return Ok(());
    }
    database.forget();
    database.link.simple("BEGIN")?;
    let done = steps(database, migrations);
    let ended = database.link.simple(if done.is_ok() { "COMMIT" } else { "ROLLBACK" });
    database.forget();
    done.and(ended)
}

fn steps(database: &Database, migrations: &[Migration]) -> Result<(), StoreError> {
    // The first to come may be long about it; all others wait for it here.
    database.link.simple("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")?;
    database.row("SELECT pg_advisory_xact_lock($1)", values![LOCK], |_| Ok(()))?;
    database.link.simple(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)",
    )?;
    for missing in missing(&applied(database)?, migrations)? {
        database.link.simple(missing.migration.sql)?;
        database.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
            values![missing.version, missing.migration.name, missing.checksum],
        )?;
    }
    Ok(())
}

/// Version and checksum of what was applied, in order; empty for an empty database.
fn applied(database: &Database) -> Result<Vec<(u32, String)>, StoreError> {
    let there = "SELECT to_regclass('schema_migrations') IS NOT NULL";
    if database.row(there, Vec::new(), |row| get(row, 0))? != Some(true) {
        return Ok(Vec::new());
    }
    let sql = "SELECT version, checksum FROM schema_migrations ORDER BY version";
    database.rows(sql, Vec::new(), |row| Ok((small_count(row, 0)?, text(row, 1)?)))
}

#[cfg(test)]
mod tests {
    use store::backend::migrations::checksum;
    use testservers::Postgres;

    use super::*;
    use crate::PostgresOptions;
    use crate::address::Address;

    const FIRST: Migration = Migration { name: "first", sql: "CREATE TABLE a (x BIGINT); INSERT INTO a VALUES (1);" };
    const SECOND: Migration = Migration { name: "second", sql: "ALTER TABLE a ADD COLUMN y BIGINT;" };
    const BROKEN: Migration =
        Migration { name: "broken", sql: "CREATE TABLE b (x BIGINT); INSERT INTO nowhere VALUES (1);" };

    fn database() -> Database {
        let options = PostgresOptions::default();
        let address = Address::parse(&Postgres::shared().fresh_database(), &options).expect("an address");
        Database::open(&address, &options).expect("opens")
    }

    #[test]
    fn each_migration_is_applied_once_and_in_order() {
        let database = database();
        for _ in 0..2 {
            apply(&database, &[FIRST]).expect("applies");
        }
        apply(&database, &[FIRST, SECOND]).expect("goes on");
        assert_eq!(database.number("SELECT COUNT(*) FROM a WHERE y IS NULL", Vec::new()).expect("reads"), 1);
        assert_eq!(applied(&database).expect("reads").len(), 2);
    }

    #[test]
    fn a_newer_schema_an_edited_and_a_broken_migration_are_refused() {
        let database = database();
        apply(&database, &[FIRST]).expect("applies");
        let failed = apply(&database, &[FIRST, BROKEN]).expect_err("the second fails");
        assert!(matches!(failed, StoreError::Backend(_)), "{failed:?}");
        assert_eq!(applied(&database).expect("reads").len(), 1, "the first one is kept");
        let there = database.row("SELECT to_regclass('b') IS NULL", Vec::new(), |row| get::<bool>(row, 0));
        assert_eq!(there.expect("reads"), Some(true), "nothing of the broken one");

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
        let expected =
            [("initial", "ec5393cb2654ee94"), ("kept", "94ed570516463a3c"), ("sessions_by_hour", "7d768e0de33d46cc")];
        assert_eq!(sums, expected.map(|(name, sum)| (name, sum.to_owned())));
        assert_eq!(newest_version(), 3);
    }
}
