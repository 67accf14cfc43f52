//! One connection: how it is opened, and the few ways in which the repositories use it.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Params, Row};
use store::StoreError;

use crate::SqliteOptions;
use crate::failure::failure;
use crate::options::Durability;
use crate::words::{Words, WordsMark};
use store::backend::log::{Log, LogMark};

/// Prepared statements kept ready by each connection; there are fewer texts than this.
const STATEMENTS_MAX: usize = 96;

/// Pages of 4 KiB in the write-ahead log after which a commit moves them into the database file. Rarer than
/// SQLite's own choice: that commit waits for the disk three times, and pages written often are moved once.
const WAL_PAGES: u32 = 4000;

/// The log file is cut back to this size, in bytes, after it has been moved.
const WAL_BYTES_KEPT: u32 = 16 << 20;

/// A connection with all repositories on it. Belongs to one thread at a time.
pub struct Database {
    sqlite: Connection,
    pub(crate) log: Log,
    pub(crate) words: Words,
}

store::repositories!(Database);

/// A place to go back to when a unit of work is undone.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    log: LogMark,
    words: WordsMark,
}

impl Database {
    /// The connection that writes; makes the file when there is none.
    pub fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sqlite = connect(path, flags, options.busy_timeout)?;
        let mode: String = sqlite.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failure)?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(StoreError::Unavailable(format!(
                "{} cannot have a write-ahead log here: {mode}",
                path.display()
            )));
        }
        let synchronous = match options.durability {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
        };
        tune(&sqlite, options.writer_cache_kib)?;
        sqlite
            .execute_batch(&format!(
                "PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON; \
                PRAGMA wal_autocheckpoint = {WAL_PAGES}; PRAGMA journal_size_limit = {WAL_BYTES_KEPT};"
            ))
            .map_err(failure)?;
        Ok(Self::over(sqlite))
    }

    /// A database that is gone with its connection.
    #[cfg(feature = "inline")]
    pub fn open_memory(options: &SqliteOptions) -> Result<Self, StoreError> {
        let sqlite = Connection::open_in_memory().map_err(failure)?;
        tune(&sqlite, options.writer_cache_kib)?;
        sqlite.execute_batch("PRAGMA foreign_keys = ON;").map_err(failure)?;
        Ok(Self::over(sqlite))
    }

    /// A connection that only reads an existing file.
    pub fn open_reader(path: &Path, options: &SqliteOptions) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sqlite = connect(path, flags, options.busy_timeout)?;
        tune(&sqlite, options.reader_cache_kib)?;
        sqlite.execute_batch("PRAGMA query_only = ON;").map_err(failure)?;
        Ok(Self::over(sqlite))
    }

    fn over(sqlite: Connection) -> Self {
        sqlite.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Self { sqlite, log: Log::default(), words: Words::default() }
    }

    pub fn mark(&self) -> Mark {
        Mark { log: self.log.mark(), words: self.words.mark() }
    }

    pub fn return_to(&self, mark: Mark) {
        self.log.return_to(mark.log);
        self.words.return_to(mark.words);
    }

    /// Begins a transaction that may write.
    pub fn begin(&self) -> Result<(), StoreError> {
        if self.in_transaction() {
            // One that could not be rolled back when it failed.
            self.abandon()?;
        }
        self.control("BEGIN IMMEDIATE")
    }

    /// Undoes what is open; the next transaction asks the database where the log stands.
    pub fn abandon(&self) -> Result<(), StoreError> {
        self.log.forget();
        self.words.forget();
        if self.in_transaction() { self.control("ROLLBACK") } else { Ok(()) }
    }

    pub fn sqlite(&self) -> &Connection {
        &self.sqlite
    }

    /// Whether a transaction is open. SQLite closes one by itself when the disk fails.
    pub fn in_transaction(&self) -> bool {
        !self.sqlite.is_autocommit()
    }

    /// `BEGIN`, `COMMIT` and the like.
    pub fn control(&self, sql: &'static str) -> Result<(), StoreError> {
        let mut statement = self.sqlite.prepare_cached(sql).map_err(failure)?;
        statement.execute([]).map(drop).map_err(failure)
    }

    /// Changes rows inside the open transaction; gives how many.
    pub fn execute(&self, sql: &str, params: impl Params) -> Result<u64, StoreError> {
        if !self.in_transaction() {
            // Without this a unit whose transaction was undone by a failing disk would go on writing piecemeal.
            return Err(StoreError::NotWritable(String::from("the disk failed and undid the transaction")));
        }
        let mut statement = self.sqlite.prepare_cached(sql).map_err(failure)?;
        let changed = statement.execute(params).map_err(failure)?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    pub fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.sqlite.prepare_cached(sql).map_err(failure)?;
        let mut rows = statement.query(params).map_err(failure)?;
        match rows.next().map_err(failure)? {
            Some(row) => read(row).map(Some).map_err(failure),
            None => Ok(None),
        }
    }

    pub fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.sqlite.prepare_cached(sql).map_err(failure)?;
        let mut rows = statement.query(params).map_err(failure)?;
        let mut values = Vec::new();
        while let Some(row) = rows.next().map_err(failure)? {
            values.push(read(row).map_err(failure)?);
        }
        Ok(values)
    }

    /// A number that a query always gives.
    pub fn number(&self, sql: &str, params: impl Params) -> Result<u64, StoreError> {
        let value = self.row(sql, params, |row| crate::columns::count(row, 0))?;
        value.ok_or_else(|| StoreError::Corrupt(format!("no row for `{sql}`")))
    }
}

/// Opens without making a file and without anything but a wait for locks; for checks and copies.
pub fn connect(path: &Path, flags: OpenFlags, busy_timeout: Duration) -> Result<Connection, StoreError> {
    let sqlite = Connection::open_with_flags(path, flags).map_err(failure)?;
    sqlite.busy_timeout(busy_timeout).map_err(failure)?;
    Ok(sqlite)
}

fn tune(sqlite: &Connection, cache_kib: u32) -> Result<(), StoreError> {
    // No memory map: it would count as resident memory, and the caches are small on purpose.
    let pragmas = format!(
        "PRAGMA cache_size = -{cache_kib}; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF;"
    );
    sqlite.execute_batch(&pragmas).map_err(failure)?;
    // Plans do not depend on the values of parameters; otherwise statements are planned anew with each value.
    sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop).map_err(failure)
}
