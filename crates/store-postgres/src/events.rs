//! The log of durable events.

use model::{Cursor, Event, RunId, Timestamp};
use store::backend::numbers::{bound, stored};
use store::{EventQueries, EventWrites, LogBounds, StoreError, StoredEvent};
use tokio_postgres::Row;

use crate::columns::{count, get, time};
use crate::connection::Database;
use crate::values::{Value, values};

/// The last cursor ever given. The counter is written only when events are removed; between two
/// prunings the log itself tells.
pub const LAST_CURSOR: &str = "SELECT GREATEST(COALESCE((SELECT MAX(cursor) FROM events), 0), \
    COALESCE((SELECT value FROM counters WHERE name = 'event_cursor'), 0))";

fn event(row: &Row) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent { cursor: Cursor(count(row, 0)?), at: time(row, 1)?, event: logged(row, 2)? })
}

fn logged(row: &Row, column: usize) -> Result<Event, StoreError> {
    Event::from_stored(get(row, column)?)
        .map_err(|error| StoreError::Corrupt(format!("the event of column {column}: {error}")))
}

impl Database {
    /// Gives the log what was appended since the last time, in one statement.
    pub(crate) fn log_events(&self) -> Result<(), StoreError> {
        let appended = self.log.appended.borrow();
        let new = &appended[self.logged.get()..];
        if new.is_empty() {
            return Ok(());
        }
        let (mut cursors, mut times, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for stored_event in new {
            cursors.push(stored(stored_event.cursor.0)?);
            times.push(stored_event.at.as_ms());
            let body = stored_event.event.to_stored();
            bodies.push(body.map_err(|error| StoreError::Backend(Box::new(error)))?);
        }
        let sql = "INSERT INTO events (cursor, created_at, body) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[])";
        self.defer(sql, vec![Value::Ints(cursors), Value::Ints(times), Value::Texts(bodies)])?;
        self.logged.set(appended.len());
        Ok(())
    }
}

impl EventQueries for Database {
    fn after(&self, after: Cursor, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.log_events()?;
        let sql = "SELECT cursor, created_at, body FROM events WHERE cursor > $1 ORDER BY cursor LIMIT $2";
        self.rows(sql, values![bound(after.0), limit], event)
    }

    fn of_run(&self, run: &RunId, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.log_events()?;
        let sql = "SELECT cursor, created_at, body FROM events WHERE strpos(body, $1) > 0 ORDER BY cursor LIMIT $2";
        self.rows(sql, values![store::events::run_text(run), limit], event)
    }

    fn bounds(&self) -> Result<LogBounds, StoreError> {
        self.log_events()?;
        let sql = format!("SELECT ({LAST_CURSOR}), (SELECT MIN(cursor) FROM events)");
        let bounds = self.row(&sql, Vec::new(), |row| {
            let newest = Cursor(count(row, 0)?);
            let oldest: Option<i64> = crate::columns::get(row, 1)?;
            let oldest = oldest.and_then(|cursor| u64::try_from(cursor).ok()).map_or(newest.next(), Cursor);
            Ok(LogBounds { oldest, newest })
        })?;
        bounds.ok_or_else(|| StoreError::Corrupt(String::from("the log has no bounds")))
    }
}

impl EventWrites for Database {
    fn append(&self, at: Timestamp, event: &Event) -> Result<Cursor, StoreError> {
        if !event.is_durable() {
            return Err(StoreError::Conflict(String::from("an event that is not durable cannot be in the log")));
        }
        let last = match self.log.last.get() {
            Some(last) => last,
            None => return Err(StoreError::Unavailable(String::from("no transaction is open"))),
        };
        // Nobody else gives cursors before this transaction has ended, so this one is certain already.
        let cursor = Cursor(last).next();
        self.log.last.set(Some(cursor.0));
        self.log.appended.borrow_mut().push(StoredEvent { cursor, at, event: event.clone() });
        Ok(cursor)
    }

    fn prune(&self, before: Timestamp, keep_max: u64) -> Result<u64, StoreError> {
        let bounds = self.bounds()?;
        let sql = "SELECT cursor FROM events WHERE created_at >= $1 ORDER BY cursor LIMIT 1";
        let young = self.row(sql, values![before.as_ms()], |row| count(row, 0))?;
        let end = bounds.newest.0 + 1;
        let first_kept = young.unwrap_or(end).max(end.saturating_sub(keep_max));
        if first_kept <= bounds.oldest.0 {
            return Ok(0);
        }
        let sql = "INSERT INTO counters (name, value) VALUES ('event_cursor', $1) \
            ON CONFLICT (name) DO UPDATE SET value = $1";
        self.defer(sql, values![stored(bounds.newest.0)?])?;
        self.execute("DELETE FROM events WHERE cursor < $1", values![stored(first_kept)?])
    }
}
