//! Rows of what is kept for a while.

use store::backend::numbers::stored;
use store::{Kept, KeptBounds, KeptQueries, KeptWrites, StoreError};
use tokio_postgres::Row;

use crate::columns::{json, text, time};
use crate::connection::Database;
use crate::values::values;

fn kept(row: &Row) -> Result<Kept, StoreError> {
    Ok(Kept { id: text(row, 0)?, owner: text(row, 1)?, body: json(row, 2)?, at: time(row, 3)? })
}

impl KeptQueries for Database {
    fn get(&self, kind: &str, id: &str) -> Result<Option<Kept>, StoreError> {
        let sql = "SELECT kept_id, owner, body, kept_at FROM kept WHERE kind = $1 AND kept_id = $2";
        self.row(sql, values![kind, id], kept)
    }
}

impl KeptWrites for Database {
    fn put(&self, kind: &str, kept: &Kept) -> Result<u64, StoreError> {
        let body = kept.body.to_string();
        let bytes = body.len() as u64;
        let sql = "INSERT INTO kept (kind, kept_id, owner, body, bytes, kept_at) VALUES ($1, $2, $3, $4, $5, $6) \
            ON CONFLICT (kind, kept_id) DO UPDATE SET owner = $3, body = $4, bytes = $5, kept_at = $6";
        self.defer(sql, values![kind, &kept.id, &kept.owner, body, stored(bytes)?, kept.at.as_ms()])?;
        Ok(bytes)
    }

    fn delete(&self, kind: &str, id: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM kept WHERE kind = $1 AND kept_id = $2", values![kind, id])? > 0)
    }

    fn prune(&self, kind: &str, bounds: KeptBounds) -> Result<u64, StoreError> {
        let [count, bytes] = [bounds.count, bounds.bytes].map(|bound| i64::try_from(bound).unwrap_or(i64::MAX));
        let sql = "DELETE FROM kept WHERE kind = $1 AND (kept_at < $2 OR kept_id IN (SELECT kept_id FROM \
            (SELECT kept_id, ROW_NUMBER() OVER newest AS place, (SUM(bytes) OVER newest)::BIGINT AS total FROM kept \
            WHERE kind = $1 WINDOW newest AS (ORDER BY kept_at DESC, kept_id DESC)) AS ranked \
            WHERE place > $3 OR total > $4))";
        self.execute(sql, values![kind, bounds.since.as_ms(), count, bytes])
    }
}
