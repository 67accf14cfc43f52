//! Rows of tool calls.

use model::{RunId, Timestamp, ToolCallRecord, ToolCallState};
use store::{StoreError, ToolCallQueries, ToolCallWrites};

use crate::columns::{text, text_if_any, time_if_any, word};
use crate::connection::Database;
use crate::values::values;

impl ToolCallQueries for Database {
    fn of_run(&self, run: &RunId) -> Result<Vec<ToolCallRecord>, StoreError> {
        if self.known.borrow().has_none(run, |known| known.has_calls) {
            return Ok(Vec::new());
        }
        let sql = "SELECT run_id, call_id, name, arguments, state, result, started_at, ended_at FROM tool_calls \
            WHERE run_id = $1 ORDER BY ordinal";
        self.rows(sql, values![run.as_str()], |row| {
            Ok(ToolCallRecord {
                run_id: RunId::trusted(text(row, 0)?),
                call_id: text(row, 1)?,
                name: text(row, 2)?,
                arguments: text(row, 3)?,
                state: word(row, 4, ToolCallState::parse)?,
                result: text_if_any(row, 5)?,
                started_at: time_if_any(row, 6)?,
                ended_at: time_if_any(row, 7)?,
            })
        })
    }
}

impl ToolCallWrites for Database {
    fn put(&self, call: &ToolCallRecord) -> Result<(), StoreError> {
        // Waited for: the run may have been deleted under the call, and that is this unit's failure alone.
        let sql = "INSERT INTO tool_calls (run_id, call_id, name, arguments, state, result, started_at, ended_at) \
            SELECT run_id, $2, $3, $4, $5, $6, $7, $8 FROM runs WHERE run_id = $1 \
            ON CONFLICT (run_id, call_id) DO UPDATE SET name = $3, arguments = $4, state = $5, result = $6, started_at = $7, \
            ended_at = $8";
        let values = values![
            call.run_id.as_str(),
            &call.call_id,
            &call.name,
            &call.arguments,
            call.state.as_str(),
            call.result.as_ref(),
            call.started_at.map(Timestamp::as_ms),
            call.ended_at.map(Timestamp::as_ms),
        ];
        match self.execute(sql, values)? {
            0 => Err(StoreError::Conflict(format!("there is no run `{}`", call.run_id))),
            _ => {
                self.known.borrow_mut().add_call(&call.run_id);
                Ok(())
            }
        }
    }
}
