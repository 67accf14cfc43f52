//! All rows of a database, given and taken; see [`store::backend::portable`].

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use store::StoreError;
use store::backend::portable::{Cell, Kind, TABLES, Table, Take, check_version};
use tokio_postgres::Row;

use crate::PostgresOptions;
use crate::address::Address;
use crate::columns::{get, text_if_any};
use crate::connection::Database;
use crate::copying::Copying;
use crate::migrate;
use crate::transaction::WRITE_LOCK;
use crate::values::{Value, values};

/// How long one statement may take; the longest counts the rows of a table.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3600);

/// Whole tables are read, and between two rows the other side works.
const FOR_ALL_ROWS: &str = "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL enable_seqscan = on";

fn connect(address: &Address, options: &PostgresOptions) -> Result<Database, StoreError> {
    Database::open(address, &PostgresOptions { statement_timeout: STATEMENT_TIMEOUT, ..options.clone() })
}

/// Gives all rows of the database at `url`, as of one moment, table by table; nodes go on writing meanwhile.
///
/// Blocks, and must not be called from inside an async task. Rows pass one at a time, so that memory does
/// not grow with the database. [`StoreError::Refused`] when the database is empty or its schema is older
/// than this program's; else as [`crate::PostgresStore::open`].
pub fn export(url: &str, options: &PostgresOptions, take: &mut Take<'_>) -> Result<(), StoreError> {
    let address = Address::parse(url, options)?;
    let database = connect(&address, options)?;
    let given = give_all(&database, take);
    database.link.close();
    given.map_err(|error| at(&address, error))
}

fn give_all(database: &Database, take: &mut Take<'_>) -> Result<(), StoreError> {
    database.link.simple(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {FOR_ALL_ROWS}"))?;
    check_version(migrate::version(database)?, migrate::newest_version())?;
    TABLES.iter().try_for_each(|table| give(database, table, take))?;
    database.link.simple("COMMIT")
}

fn give(database: &Database, table: &'static Table, take: &mut Take<'_>) -> Result<(), StoreError> {
    let link = &database.link;
    let statement = link.statement(&format!("SELECT {} FROM {}", table.column_list(), table.name))?;
    let begun = link.wait(link.client().query_raw(&statement, &[] as &[Value]))?;
    let mut rows = pin!(begun.map_err(|error| link.explain(error))?);
    let mut cells = Vec::with_capacity(table.columns.len());
    while let Some(row) = link.wait(rows.try_next())?.map_err(|error| link.explain(error))? {
        cells.clear();
        for (position, (_, kind)) in table.columns.iter().enumerate() {
            cells.push(cell(*kind, &row, position)?);
        }
        take(table, &cells)?;
    }
    Ok(())
}

fn cell(kind: Kind, row: &Row, position: usize) -> Result<Cell, StoreError> {
    let cell = match kind {
        Kind::Text => text_if_any(row, position)?.map(Cell::Text),
        Kind::Number => get::<Option<i64>>(row, position)?.map(Cell::Number),
        Kind::YesNo => get::<Option<bool>>(row, position)?.map(Cell::YesNo),
    };
    Ok(cell.unwrap_or(Cell::Null))
}

/// Rows on their way into a database that has none; until [`Import::commit`] nobody sees them. Dropping it
/// leaves the database as it was.
///
/// Blocks, and must not be used from inside an async task. Nodes of the database wait for its end.
pub struct Import {
    address: Address,
    database: Database,
    /// The table whose rows are coming.
    open: Option<Copying>,
}

impl Import {
    /// Connects to the database at `url`, makes or updates its schema, and sees that it holds no row.
    ///
    /// [`StoreError::Refused`] when it holds some; else as [`crate::PostgresStore::open`].
    pub fn begin(url: &str, options: &PostgresOptions) -> Result<Import, StoreError> {
        let address = Address::parse(url, options)?;
        let database = connect(&address, options)?;
        let import = Import { address, database, open: None };
        import.prepare(options).map_err(|error| at(&import.address, error))?;
        Ok(import)
    }

    fn prepare(&self, options: &PostgresOptions) -> Result<(), StoreError> {
        let database = &self.database;
        database.link.simple("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")?;
        migrate::migrate_within(database)?;
        let patience = options.lock_timeout.as_millis();
        database.link.simple(&format!("{FOR_ALL_ROWS}; SET LOCAL lock_timeout = {patience}"))?;
        database.row("SELECT pg_advisory_xact_lock($1)", values![WRITE_LOCK], |_| Ok(()))?;
        for table in &TABLES {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
            if database.row(&sql, Vec::new(), |row| get(row, 0))? != Some(false) {
                return Err(StoreError::Refused(format!(
                    "it holds data already, in the table `{}` for one, which nobody but you may remove; make an empty \
                     database, for instance with `createdb NEW`, and name that one",
                    table.name
                )));
            }
        }
        Ok(())
    }

    /// Takes a row with all its cells. Tables come in the order of [`TABLES`], each with all its rows at once.
    pub fn put(&mut self, table: &'static Table, row: &[Cell]) -> Result<(), StoreError> {
        let put = self.try_put(table, row);
        put.map_err(|error| at(&self.address, error))
    }

    fn try_put(&mut self, table: &'static Table, row: &[Cell]) -> Result<(), StoreError> {
        let link = &self.database.link;
        let mut copying = match self.open.take() {
            Some(copying) if copying.table() == table => copying,
            former => {
                former.map_or(Ok(()), |former| former.finish(link))?;
                Copying::begin(link, table)?
            }
        };
        copying.put(link, row)?;
        self.open = Some(copying);
        Ok(())
    }

    /// Ends the taking of rows; gives how many each table has now.
    pub fn finish(&mut self) -> Result<BTreeMap<String, u64>, StoreError> {
        let finished = self.try_finish();
        finished.map_err(|error| at(&self.address, error))
    }

    fn try_finish(&mut self) -> Result<BTreeMap<String, u64>, StoreError> {
        if let Some(copying) = self.open.take() {
            copying.finish(&self.database.link)?;
        }
        let mut rows = BTreeMap::new();
        for table in &TABLES {
            let name = table.name;
            if table.is_ordered() {
                // The next row comes behind these.
                let sql = format!(
                    "SELECT setval(pg_get_serial_sequence('{name}', 'ordinal'), COALESCE(MAX(ordinal), 1), COUNT(*) > 0) FROM {name}"
                );
                self.database.row(&sql, Vec::new(), |_| Ok(()))?;
            }
            rows.insert(name.to_owned(), self.database.number(&format!("SELECT COUNT(*) FROM {name}"), Vec::new())?);
        }
        Ok(rows)
    }

    /// Keeps everything. When the connection ends meanwhile, it is unknown what became of it.
    pub fn commit(self) -> Result<(), StoreError> {
        let Import { address, database, .. } = self;
        let committed = database.link.simple("COMMIT");
        database.link.close();
        committed.map_err(|error| at(&address, error))
    }
}

/// The error with the place that it is about.
fn at(address: &Address, error: StoreError) -> StoreError {
    match error {
        StoreError::Refused(text) => StoreError::Refused(format!("{}: {text}", address.shown())),
        other => other,
    }
}
