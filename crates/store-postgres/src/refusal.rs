//! Why there is no connection, and what helps.

use store::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::address::Address;
use crate::failure::{io_error, with_causes};

/// An attempt to connect that failed: for now, or until somebody changes something.
pub fn refusal(address: &Address, error: &Error) -> StoreError {
    let (place, user, database) = (address.shown(), address.user(), address.database());
    let Some(told) = error.as_db_error() else {
        return without_server(place, user, error);
    };
    let message = told.message();
    let code = told.code();
    let never = |text: String| StoreError::Refused(format!("{place}: {text}"));
    if *code == SqlState::INVALID_PASSWORD {
        never(format!(
            "the password of the user `{user}` is wrong; set the right one in the address, or change it in the server \
             with ALTER ROLE"
        ))
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        never(format!("the server does not let the user `{user}` in: {message}"))
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        never(format!("there is no database `{database}`; make it with `createdb {database}`"))
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        never(format!("the user `{user}` has too few rights: {message}"))
    } else {
        match code.code().get(..2) {
            // Starting up, shutting down, too many clients.
            Some("53" | "57" | "58" | "08") => StoreError::Unavailable(format!("{place}: {message}")),
            _ => never(message.to_owned()),
        }
    }
}

/// The server did not get to say anything, or we did not like what it said.
fn without_server(place: &str, user: &str, error: &Error) -> StoreError {
    let text = with_causes(error);
    if text.contains("password missing") {
        return StoreError::Refused(format!("{place}: the server asks for a password of the user `{user}`"));
    }
    // Certificates and the lack of TLS do not mend themselves; a machine that is down does.
    let tls = text.contains("TLS handshake");
    let refused_by_tls = tls && io_error(error).is_none_or(|io| io.get_ref().is_some());
    if refused_by_tls {
        return StoreError::Refused(format!("{place}: {text}"));
    }
    StoreError::Unavailable(format!("{place} cannot be reached: {text}"))
}
