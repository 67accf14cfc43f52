//! Rows of what is kept for a while.

use rusqlite::Row;
use store::backend::numbers::stored;
use store::{Kept, KeptBounds, KeptQueries, KeptWrites, StoreError};

use crate::columns::{Json, time};
use crate::connection::Database;

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept { id: row.get(0)?, owner: row.get(1)?, body: row.get::<_, Json<_>>(2)?.0, at: time(row, 3)? })
}

impl KeptQueries for Database {
    fn get(&self, kind: &str, id: &str) -> Result<Option<Kept>, StoreError> {
        let sql = "SELECT kept_id, owner, body, kept_at FROM kept WHERE kind = ?1 AND kept_id = ?2";
        self.row(sql, (kind, id), kept)
    }
}

impl KeptWrites for Database {
    fn put(&self, kind: &str, kept: &Kept) -> Result<u64, StoreError> {
        let body = kept.body.to_string();
        let bytes = body.len() as u64;
        let sql = "INSERT INTO kept (kind, kept_id, owner, body, bytes, kept_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
            ON CONFLICT (kind, kept_id) DO UPDATE SET owner = ?3, body = ?4, bytes = ?5, kept_at = ?6";
        self.execute(sql, (kind, &kept.id, &kept.owner, body, stored(bytes)?, kept.at.as_ms()))?;
        Ok(bytes)
    }

    fn delete(&self, kind: &str, id: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM kept WHERE kind = ?1 AND kept_id = ?2", (kind, id))? > 0)
    }

    fn prune(&self, kind: &str, bounds: KeptBounds) -> Result<u64, StoreError> {
        let [count, bytes] = [bounds.count, bounds.bytes].map(|bound| i64::try_from(bound).unwrap_or(i64::MAX));
        let sql = "DELETE FROM kept WHERE kind = ?1 AND (kept_at < ?2 OR kept_id IN (SELECT kept_id FROM \
            (SELECT kept_id, ROW_NUMBER() OVER newest AS place, SUM(bytes) OVER newest AS total FROM kept \
            WHERE kind = ?1 WINDOW newest AS (ORDER BY kept_at DESC, kept_id DESC)) WHERE place > ?3 OR total > ?4))";
        self.execute(sql, (kind, bounds.since.as_ms(), count, bytes))
    }
}
