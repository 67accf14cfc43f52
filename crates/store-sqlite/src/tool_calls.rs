//! Rows of tool calls.

use model::{RunId, Timestamp, ToolCallRecord, ToolCallState};
use rusqlite::params;
use store::{StoreError, ToolCallQueries, ToolCallWrites};

use crate::columns::{text, time_if_any, word};
use crate::connection::Database;

impl ToolCallQueries for Database {
    fn of_run(&self, run: &RunId) -> Result<Vec<ToolCallRecord>, StoreError> {
        let sql = "SELECT run_id, call_id, name, arguments, state, result, started_at, ended_at FROM tool_calls \
            WHERE run_id = ?1 ORDER BY ordinal";
        self.rows(sql, [run.as_str()], |row| {
            Ok(ToolCallRecord {
                run_id: RunId::trusted(text(row, 0)?),
                call_id: row.get(1)?,
                name: row.get(2)?,
                arguments: row.get(3)?,
                state: word(row, 4, ToolCallState::parse)?,
                result: row.get(5)?,
                started_at: time_if_any(row, 6)?,
                ended_at: time_if_any(row, 7)?,
            })
        })
    }
}

impl ToolCallWrites for Database {
    fn put(&self, call: &ToolCallRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO tool_calls (run_id, call_id, name, arguments, state, result, started_at, ended_at) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (run_id, call_id) DO UPDATE SET name = ?3, arguments = ?4, state = ?5, \
            result = ?6, started_at = ?7, ended_at = ?8";
        self.execute(
            sql,
            params![
                call.run_id.as_str(),
                call.call_id,
                call.name,
                call.arguments,
                call.state.as_str(),
                call.result,
                call.started_at.map(Timestamp::as_ms),
                call.ended_at.map(Timestamp::as_ms),
            ],
        )
        .map(drop)
    }
}
