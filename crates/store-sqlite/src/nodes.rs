//! Rows of nodes, of what they hold, and of claims.

use model::{Fence, SessionKey, Timestamp};
use rusqlite::{Row, params};
use serde_json::Value;
use store::backend::numbers::stored;
use store::{NewNode, Node, NodeQueries, NodeWrites, StoreError};

use crate::columns::{Json, count, time};
use crate::connection::Database;

fn node(row: &Row<'_>) -> rusqlite::Result<Node> {
    Ok(Node {
        fence: Fence(count(row, 0)?),
        node: NewNode {
            name: row.get(1)?,
            host: row.get(2)?,
            version: row.get(3)?,
            pid: row.get(4)?,
            addresses: row.get::<_, Json<_>>(5)?.0,
            lease_ms: count(row, 6)?,
            at: time(row, 7)?,
        },
        beats: count(row, 8)?,
        is_draining: row.get(9)?,
    })
}

impl Database {
    /// Whether the life of the node goes on.
    pub(crate) fn is_node(&self, fence: Fence) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM nodes WHERE fence = ?1";
        Ok(self.row(sql, [stored(fence.0)?], |_| Ok(()))?.is_some())
    }
}

impl NodeQueries for Database {
    fn list(&self) -> Result<Vec<Node>, StoreError> {
        let sql = "SELECT fence, name, host, version, pid, addresses, lease_ms, joined_at, beats, is_draining \
            FROM nodes ORDER BY fence";
        self.rows(sql, [], node)
    }

    fn owner_of(&self, session: &SessionKey) -> Result<Option<Fence>, StoreError> {
        let of_runs = "SELECT owner FROM runs WHERE session_key = ?1 AND is_over = 0 ORDER BY ordinal DESC LIMIT 1";
        let of_holds = "SELECT owner FROM session_holds JOIN nodes ON fence = owner WHERE session_key = ?1";
        let fence = |row: &Row<'_>| count(row, 0).map(Fence);
        match self.row(of_runs, [session.as_str()], fence)? {
            Some(owner) => Ok(Some(owner)),
            None => self.row(of_holds, [session.as_str()], fence),
        }
    }
}

impl NodeWrites for Database {
    fn join(&self, node: &NewNode) -> Result<Fence, StoreError> {
        let former = self.row("SELECT fence FROM nodes WHERE name = ?1", [&node.name], |row| count(row, 0))?;
        if let Some(former) = former {
            self.remove(Fence(former))?;
        }
        let next = "INSERT INTO counters (name, value) VALUES ('fence', 1) \
            ON CONFLICT (name) DO UPDATE SET value = value + 1";
        self.execute(next, [])?;
        let fence = self.number("SELECT value FROM counters WHERE name = 'fence'", [])?;
        let sql = "INSERT INTO nodes (fence, name, host, version, pid, addresses, lease_ms, joined_at, beats, is_draining) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0)";
        self.execute(
            sql,
            params![
                stored(fence)?,
                node.name,
                node.host,
                node.version,
                node.pid,
                Json(&node.addresses),
                stored(node.lease_ms)?,
                node.at.as_ms(),
            ],
        )?;
        Ok(Fence(fence))
    }

    fn beat(&self, fence: Fence, addresses: &Value, is_draining: bool) -> Result<bool, StoreError> {
        let sql = "UPDATE nodes SET beats = beats + 1, addresses = ?2, is_draining = ?3 WHERE fence = ?1";
        Ok(self.execute(sql, (stored(fence.0)?, Json(addresses), is_draining))? > 0)
    }

    fn remove(&self, fence: Fence) -> Result<bool, StoreError> {
        self.execute("DELETE FROM session_holds WHERE owner = ?1", [stored(fence.0)?])?;
        Ok(self.execute("DELETE FROM nodes WHERE fence = ?1", [stored(fence.0)?])? > 0)
    }

    fn hold(&self, session: &SessionKey, fence: Fence) -> Result<(), StoreError> {
        let sql = "INSERT INTO session_holds (session_key, owner) VALUES (?1, ?2) \
            ON CONFLICT (session_key) DO UPDATE SET owner = ?2";
        self.execute(sql, (session.as_str(), stored(fence.0)?)).map(drop)
    }

    fn let_go(&self, session: &SessionKey, fence: Fence) -> Result<(), StoreError> {
        let sql = "DELETE FROM session_holds WHERE session_key = ?1 AND owner = ?2";
        self.execute(sql, (session.as_str(), stored(fence.0)?)).map(drop)
    }

    fn claim(&self, name: &str, due: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO counters (name, value) VALUES ('claim:' || ?1, ?2) \
            ON CONFLICT (name) DO UPDATE SET value = ?2 WHERE value < ?2";
        Ok(self.execute(sql, (name, due.as_ms()))? > 0)
    }
}
