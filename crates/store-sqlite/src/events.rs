//! The log of durable events.

use model::{Cursor, Event, RunId, Timestamp};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use store::backend::numbers::{bound, stored};
use store::{EventQueries, EventWrites, LogBounds, StoreError, StoredEvent};

use crate::columns::{count, time};
use crate::connection::Database;

/// The last cursor ever given. The counter is written only when events are removed; between two
/// prunings the log itself tells.
const LAST_CURSOR: &str = "SELECT MAX(COALESCE((SELECT MAX(cursor) FROM events), 0), \
    COALESCE((SELECT value FROM counters WHERE name = 'event_cursor'), 0))";

/// An event in its stored form.
struct Logged<T>(T);

impl ToSql for Logged<&Event> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = self.0.to_stored();
        text.map(ToSqlOutput::from).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }
}

impl FromSql for Logged<Event> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Event::from_stored(value.as_str()?).map(Logged).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

fn event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent { cursor: Cursor(count(row, 0)?), at: time(row, 1)?, event: row.get::<_, Logged<Event>>(2)?.0 })
}

impl EventQueries for Database {
    fn after(&self, after: Cursor, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let sql = "SELECT cursor, created_at, body FROM events WHERE cursor > ?1 ORDER BY cursor LIMIT ?2";
        self.rows(sql, (bound(after.0), limit), event)
    }

    fn of_run(&self, run: &RunId, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let sql = "SELECT cursor, created_at, body FROM events WHERE instr(body, ?1) > 0 ORDER BY cursor LIMIT ?2";
        self.rows(sql, (store::events::run_text(run), limit), event)
    }

    fn bounds(&self) -> Result<LogBounds, StoreError> {
        let newest = Cursor(self.number(LAST_CURSOR, [])?);
        let oldest =
            self.row("SELECT cursor FROM events ORDER BY cursor LIMIT 1", [], |row| count(row, 0).map(Cursor))?;
        Ok(LogBounds { oldest: oldest.unwrap_or(newest.next()), newest })
    }
}

impl EventWrites for Database {
    fn append(&self, at: Timestamp, event: &Event) -> Result<Cursor, StoreError> {
        if !event.is_durable() {
            return Err(StoreError::Conflict(String::from("an event that is not durable cannot be in the log")));
        }
        let last = match self.log.last.get() {
            Some(last) => last,
            None => self.number(LAST_CURSOR, [])?,
        };
        let cursor = Cursor(last).next();
        let sql = "INSERT INTO events (cursor, created_at, body) VALUES (?1, ?2, ?3)";
        self.execute(sql, (stored(cursor.0)?, at.as_ms(), Logged(event)))?;
        self.log.last.set(Some(cursor.0));
        self.log.appended.borrow_mut().push(StoredEvent { cursor, at, event: event.clone() });
        Ok(cursor)
    }

    fn prune(&self, before: Timestamp, keep_max: u64) -> Result<u64, StoreError> {
        let bounds = self.bounds()?;
        let young = self.row(
            "SELECT cursor FROM events WHERE created_at >= ?1 ORDER BY cursor LIMIT 1",
            [before.as_ms()],
            |row| count(row, 0),
        )?;
        let first_kept = young.unwrap_or(bounds.newest.0 + 1).max((bounds.newest.0 + 1).saturating_sub(keep_max));
        if first_kept <= bounds.oldest.0 {
            return Ok(0);
        }
        self.execute(
            "INSERT INTO counters (name, value) VALUES ('event_cursor', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1",
            [stored(bounds.newest.0)?],
        )?;
        self.execute("DELETE FROM events WHERE cursor < ?1", [stored(first_kept)?])
    }
}
