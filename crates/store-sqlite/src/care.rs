//! Copies and checks of a database file, also while a gateway has it open.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use store::StoreError;

use crate::connection::connect;
use crate::failure::failure;

const PATIENCE: Duration = Duration::from_secs(5);

/// Copies the database at `from`, as of one moment, to the new file `to`.
///
/// Written under another name first, so that `to` is whole when it appears.
/// [`StoreError::Conflict`] when `to` is there already.
pub fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
    if to.exists() {
        return Err(StoreError::Conflict(format!("{} is there already", to.display())));
    }
    let mut partial = OsString::from(to);
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let copied = copy(from, &partial).and_then(|()| {
        std::fs::rename(&partial, to).map_err(|error| StoreError::NotWritable(format!("{}: {error}", to.display())))
    });
    if copied.is_err() {
        // The first error is the one to tell; what is left is overwritten by the next attempt.
        let _ = std::fs::remove_file(&partial);
    }
    copied
}

fn copy(from: &Path, partial: &Path) -> Result<(), StoreError> {
    let source = open_existing(from)?;
    let _ = std::fs::remove_file(partial);
    crate::create_private(partial)?;
    let mut target = Connection::open(partial).map_err(failure)?;
    {
        let copy = Backup::new(&source, &mut target).map_err(failure)?;
        // All pages in one step: one snapshot, which no writer can make start over.
        match copy.step(-1).map_err(failure)? {
            StepResult::Done => {}
            other => return Err(StoreError::Unavailable(format!("the copy was not finished: {other:?}"))),
        }
    }
    // A single file: without this the copy would carry the mode of a write-ahead log with it.
    target.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0)).map_err(failure)?;
    target.close().map_err(|(_, error)| failure(error))
}

/// Checks every page and every index of the database at `path`; the error names what is wrong.
pub fn integrity(path: &Path) -> Result<(), String> {
    let database = open_existing(path).map_err(|error| error.to_string())?;
    let findings = database
        .prepare("PRAGMA integrity_check(20)")
        .and_then(|mut statement| {
            statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
        })
        .map_err(|error| failure(error).to_string())?;
    if findings.iter().any(|line| line != "ok") {
        return Err(findings.join("; "));
    }
    let orphans: i64 = database
        .query_row("SELECT COUNT(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
        .map_err(|error| failure(error).to_string())?;
    if orphans > 0 {
        return Err(format!("{orphans} rows belong to a row that is gone"));
    }
    Ok(())
}

fn open_existing(path: &Path) -> Result<Connection, StoreError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX, PATIENCE)
}
