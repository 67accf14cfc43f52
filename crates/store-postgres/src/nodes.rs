//! Rows of nodes, of what they hold, and of claims.

use model::{Fence, SessionKey, Timestamp};
use serde_json::Value as Json;
use store::backend::numbers::stored;
use store::{NewNode, Node, NodeQueries, NodeWrites, StoreError};
use tokio_postgres::Row;

use crate::columns::{count, get, json, small_count, text, time};
use crate::connection::Database;
use crate::values::{self, values};

fn node(row: &Row) -> Result<Node, StoreError> {
    Ok(Node {
        fence: Fence(count(row, 0)?),
        node: NewNode {
            name: text(row, 1)?,
            host: text(row, 2)?,
            version: text(row, 3)?,
            pid: small_count(row, 4)?,
            addresses: json(row, 5)?,
            lease_ms: count(row, 6)?,
            at: time(row, 7)?,
        },
        beats: count(row, 8)?,
        is_draining: get(row, 9)?,
    })
}

/// The node that something belongs to.
pub fn owner(row: &Row, column: usize) -> Result<Option<Fence>, StoreError> {
    let fence: Option<i64> = get(row, column)?;
    Ok(fence.and_then(|fence| u64::try_from(fence).ok()).map(Fence))
}

impl NodeQueries for Database {
    fn list(&self) -> Result<Vec<Node>, StoreError> {
        let sql = "SELECT fence, name, host, version, pid, addresses, lease_ms, joined_at, beats, is_draining \
            FROM nodes ORDER BY fence";
        self.rows(sql, Vec::new(), node)
    }

    fn owner_of(&self, session: &SessionKey) -> Result<Option<Fence>, StoreError> {
        if let Some(known) = self.known.borrow().owner(session) {
            return Ok(known);
        }
        let sql = "SELECT COALESCE(\
            (SELECT owner FROM runs WHERE session_key = $1 AND NOT is_over \
             ORDER BY ordinal DESC LIMIT 1), \
            (SELECT owner FROM session_holds JOIN nodes ON fence = owner WHERE session_key = $1))";
        Ok(self.row(sql, values![session.as_str()], |row| owner(row, 0))?.flatten())
    }
}

impl NodeWrites for Database {
    fn join(&self, node: &NewNode) -> Result<Fence, StoreError> {
        self.known.borrow_mut().forget_owners();
        let former = "DELETE FROM session_holds WHERE owner IN (SELECT fence FROM nodes WHERE name = $1)";
        self.defer(former, values![&node.name])?;
        self.defer("DELETE FROM nodes WHERE name = $1", values![&node.name])?;
        let next = "INSERT INTO counters (name, value) VALUES ('fence', 1) \
            ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value";
        let fence = self.number(next, Vec::new())?;
        let sql = "INSERT INTO nodes (fence, name, host, version, pid, addresses, lease_ms, joined_at, beats, is_draining) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, FALSE)";
        let values = values![
            stored(fence)?,
            &node.name,
            &node.host,
            &node.version,
            node.pid,
            values::json(&node.addresses)?,
            stored(node.lease_ms)?,
            node.at.as_ms(),
        ];
        self.defer(sql, values)?;
        Ok(Fence(fence))
    }

    fn beat(&self, fence: Fence, addresses: &Json, is_draining: bool) -> Result<bool, StoreError> {
        let sql = "UPDATE nodes SET beats = beats + 1, addresses = $2, is_draining = $3 WHERE fence = $1";
        Ok(self.execute(sql, values![stored(fence.0)?, values::json(addresses)?, is_draining])? > 0)
    }

    fn remove(&self, fence: Fence) -> Result<bool, StoreError> {
        self.known.borrow_mut().forget_owners();
        self.defer("DELETE FROM session_holds WHERE owner = $1", values![stored(fence.0)?])?;
        Ok(self.execute("DELETE FROM nodes WHERE fence = $1", values![stored(fence.0)?])? > 0)
    }

    fn hold(&self, session: &SessionKey, fence: Fence) -> Result<(), StoreError> {
        self.known.borrow_mut().forget_owners();
        let sql = "INSERT INTO session_holds (session_key, owner) VALUES ($1, $2) \
            ON CONFLICT (session_key) DO UPDATE SET owner = $2";
        self.defer(sql, values![session.as_str(), stored(fence.0)?])
    }

    fn let_go(&self, session: &SessionKey, fence: Fence) -> Result<(), StoreError> {
        self.known.borrow_mut().forget_owners();
        let sql = "DELETE FROM session_holds WHERE session_key = $1 AND owner = $2";
        self.defer(sql, values![session.as_str(), stored(fence.0)?])
    }

    fn claim(&self, name: &str, due: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO counters (name, value) VALUES ('claim:' || $1::text, $2) \
            ON CONFLICT (name) DO UPDATE SET value = $2 WHERE counters.value < $2";
        Ok(self.execute(sql, values![name, due.as_ms()])? > 0)
    }
}
