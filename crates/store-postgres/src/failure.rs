//! PostgreSQL's errors in the store's words.

use std::error::Error as _;
use std::io;

use store::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// A failure that the server names and we have no word for. Its detail is left out: it may repeat what is stored.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL {code}: {message}")]
struct Unforeseen {
    code: String,
    message: String,
}

pub fn failure(error: Error) -> StoreError {
    match error.as_db_error() {
        Some(told) => by_server(told),
        None if is_lost(&error) => StoreError::Unavailable(with_causes(&error)),
        None => StoreError::Backend(Box::new(error)),
    }
}

/// Whether nothing more can come over this connection.
pub fn is_lost(error: &Error) -> bool {
    match error.as_db_error() {
        Some(told) => matches!(told.parsed_severity(), Some(Severity::Fatal | Severity::Panic)),
        None => error.is_closed() || io_error(error).is_some(),
    }
}

/// The error of the system below the driver's.
pub fn io_error(error: &Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}

/// The error with all that is behind it.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn by_server(told: &DbError) -> StoreError {
    let text = told.message().to_owned();
    let code = told.code();
    if *code == SqlState::DISK_FULL || *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return StoreError::NotWritable(text);
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE || *code == SqlState::DATABASE_DROPPED {
        return StoreError::Refused(text);
    }
    if *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT || *code == SqlState::LOCK_NOT_AVAILABLE {
        return StoreError::Unavailable(text);
    }
    // The first two characters are the class.
    match code.code().get(..2) {
        Some("23") => StoreError::Conflict(text),
        // Connection, resources, operator, system: what passes or is mended without us.
        Some("08" | "53" | "57" | "58" | "40") => StoreError::Unavailable(text),
        Some("28" | "3D") => StoreError::Refused(text),
        Some("XX") if *code != SqlState::INTERNAL_ERROR => StoreError::Corrupt(text),
        _ => StoreError::Backend(Box::new(Unforeseen { code: code.code().to_owned(), message: text })),
    }
}
