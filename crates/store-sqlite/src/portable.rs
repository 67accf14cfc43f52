//! All rows of a database file, given and taken; see [`store::backend::portable`].

use std::path::Path;

use rusqlite::params_from_iter;
use rusqlite::types::{Value, ValueRef};
use store::StoreError;
use store::backend::portable::{Cell, Kind, TABLES, Table, Take, check_version};

use crate::SqliteOptions;
use crate::connection::Database;
use crate::failure::failure;
use crate::migrate;

/// Gives all rows of the existing database at `path`, as of one moment, table by table.
///
/// [`StoreError::Refused`] when its schema is older than this program's, [`StoreError::FromTheFuture`]
/// when it is newer.
pub fn export(path: &Path, take: &mut Take<'_>) -> Result<(), StoreError> {
    let database = Database::open_reader(path, &SqliteOptions::default())?;
    database.control("BEGIN")?;
    check_version(migrate::version(&database)?, migrate::newest_version())?;
    TABLES.iter().try_for_each(|table| give(&database, table, take))
}

fn give(database: &Database, table: &'static Table, take: &mut Take<'_>) -> Result<(), StoreError> {
    let sql = format!("SELECT {} FROM {}", table.column_list(), table.name);
    let mut statement = database.sqlite().prepare(&sql).map_err(failure)?;
    let mut rows = statement.query([]).map_err(failure)?;
    let mut cells = Vec::with_capacity(table.columns.len());
    while let Some(row) = rows.next().map_err(failure)? {
        cells.clear();
        for (position, (name, kind)) in table.columns.iter().enumerate() {
            let value = row.get_ref(position).map_err(failure)?;
            let cell = cell(*kind, value).ok_or_else(|| {
                let found = value.data_type();
                StoreError::Corrupt(format!("a row of `{}` holds {found} as `{name}`", table.name))
            })?;
            cells.push(cell);
        }
        take(table, &cells)?;
    }
    Ok(())
}

/// The value as what its column is to hold; `None` when it is something else.
fn cell(kind: Kind, value: ValueRef<'_>) -> Option<Cell> {
    match (kind, value) {
        (_, ValueRef::Null) => Some(Cell::Null),
        (Kind::Text, ValueRef::Text(text)) => std::str::from_utf8(text).ok().map(|text| Cell::Text(text.to_owned())),
        (Kind::Number, ValueRef::Integer(number)) => Some(Cell::Number(number)),
        (Kind::YesNo, ValueRef::Integer(number @ (0 | 1))) => Some(Cell::YesNo(number == 1)),
        _ => None,
    }
}

/// A new database file that is filled with rows. Without [`Import::finish`] it is of no use to anybody.
pub struct Import {
    database: Database,
}

impl Import {
    /// Makes the file at `path`, where none may be, with today's schema.
    pub fn create(path: &Path) -> Result<Import, StoreError> {
        if path.exists() {
            return Err(StoreError::Conflict(format!("{} is there already", path.display())));
        }
        crate::create_private(path)?;
        let database = Database::open_writer(path, &SqliteOptions::default())?;
        migrate::migrate(&database)?;
        // Nobody uses it before it is whole, so that there is nothing to go back to.
        database.row("PRAGMA journal_mode = OFF", [], |_| Ok(()))?;
        database.sqlite().execute_batch("PRAGMA synchronous = OFF").map_err(failure)?;
        database.begin()?;
        Ok(Import { database })
    }

    /// Takes a row with all its cells. Tables come in the order of [`TABLES`].
    pub fn put(&mut self, table: &Table, row: &[Cell]) -> Result<(), StoreError> {
        let places = vec!["?"; table.columns.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", table.name, table.column_list());
        self.database.execute(&sql, params_from_iter(row.iter().map(value)))?;
        if let Some(words) = table.searched(row)? {
            let row = self.database.sqlite().last_insert_rowid();
            self.database.execute("INSERT INTO message_words (rowid, words) VALUES (?1, ?2)", (row, words))?;
        }
        Ok(())
    }

    /// Now it is a database like any other, in one file.
    pub fn finish(self) -> Result<(), StoreError> {
        self.database.control("COMMIT")
    }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => Value::Text(text.clone()),
        Cell::Number(number) => Value::Integer(*number),
        Cell::YesNo(is_so) => Value::Integer(i64::from(*is_so)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A column that is not in the list would be lost on the way into another kind of database.
    #[test]
    fn the_portable_form_has_every_column_of_every_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        Import::create(&path).expect("makes it").finish().expect("ends");
        let known: Vec<String> = crate::contents(&path).expect("reads").rows.into_keys().collect();
        let mut tables: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        tables.sort_unstable();
        assert_eq!(tables, known);
        let database = Database::open_reader(&path, &SqliteOptions::default()).expect("opens");
        for table in &TABLES {
            let sql = format!("SELECT name FROM pragma_table_info('{}') ORDER BY cid", table.name);
            let columns = database.rows(&sql, [], |row| row.get::<_, String>(0)).expect("reads");
            assert_eq!(table.column_list(), columns.join(", "), "{}", table.name);
        }
    }

    #[test]
    fn only_a_file_of_todays_schema_gives_rows_and_only_a_new_one_takes_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let import = Import::create(&path).expect("makes it");
        import.finish().expect("ends");
        let taken = Import::create(&path).err().expect("is there").to_string();
        assert!(taken.contains("is there already"), "{taken}");
        let given = |sql: &str| {
            rusqlite::Connection::open(&path).and_then(|sqlite| sqlite.execute_batch(sql)).expect("changes");
            export(&path, &mut |_, _| Ok(())).expect_err("refused")
        };
        let wrong = given("INSERT INTO counters VALUES ('x', 'no number')");
        assert!(matches!(wrong, StoreError::Corrupt(_)), "{wrong:?}");
        let future = given("INSERT INTO schema_migrations VALUES (99, 'later', 'x')");
        assert!(matches!(future, StoreError::FromTheFuture { found: 99, .. }), "{future:?}");
        let former = given("DELETE FROM schema_migrations WHERE version > 1");
        assert!(matches!(former, StoreError::Refused(_)), "{former:?}");
    }
}
