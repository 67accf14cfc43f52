//! SQLite's errors in the store's words.

use rusqlite::ffi::ErrorCode;
use rusqlite::{Error, ffi};
use store::StoreError;

/// Writes to the file itself that failed: a full disk often shows as one of these.
const WRITE_FAILURES: [i32; 6] = [
    ffi::SQLITE_IOERR_WRITE,
    ffi::SQLITE_IOERR_FSYNC,
    ffi::SQLITE_IOERR_DIR_FSYNC,
    ffi::SQLITE_IOERR_TRUNCATE,
    ffi::SQLITE_IOERR_SHMSIZE,
    ffi::SQLITE_IOERR_SHMMAP,
];

pub fn failure(error: Error) -> StoreError {
    let Error::SqliteFailure(code, message) = &error else {
        return match error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..) => StoreError::Corrupt(with_cause(&error)),
            other => StoreError::Backend(Box::new(other)),
        };
    };
    let text = message.clone().unwrap_or_else(|| code.to_string());
    match code.code {
        ErrorCode::ConstraintViolation => StoreError::Conflict(text),
        ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::PermissionDenied => StoreError::NotWritable(text),
        ErrorCode::SystemIoFailure if WRITE_FAILURES.contains(&code.extended_code) => StoreError::NotWritable(text),
        ErrorCode::SystemIoFailure
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::CannotOpen
        | ErrorCode::OutOfMemory
        | ErrorCode::OperationInterrupted
        | ErrorCode::FileLockingProtocolFailed => StoreError::Unavailable(text),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(text),
        _ => StoreError::Backend(Box::new(error)),
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
