//! Rows of runs and of the input that waits for them.

use model::{
    AgentId, Fence, InputId, MessageId, ModelRef, Run, RunError, RunId, RunState, SessionId, SessionKey, Timestamp,
};
use store::backend::numbers::stored;
use store::backend::rows::{error_kind, error_word};
use store::{PendingInput, RunQueries, RunWrites, StoreError};
use tokio_postgres::Row;

use crate::columns::{count, json, json_if_any, small_count, text, text_if_any, time, time_if_any, word};
use crate::connection::Database;
use crate::values::{self, Value, values};

const COLUMNS: &str = "run_id, session_key, session_id, agent_id, state, message_id, started_by, origin, options, model, accepted_at, \
    started_at, ended_at, iterations, usage, next_seq, end_reason, stop_cause, error_kind, error_message, response, awaiting, owner";

const INSERT: &str = "INSERT INTO runs (run_id, session_key, session_id, agent_id, state, is_over, message_id, started_by, origin, \
    options, model, accepted_at, started_at, ended_at, iterations, usage, next_seq, end_reason, stop_cause, error_kind, \
    error_message, response, awaiting, owner) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
    $16, $17, $18, $19, $20, $21, $22, $23, $24)";

/// All columns that a run has but its id and `stop_cause`. Index entries are rewritten only for values that change.
const ASSIGNED: &str = "session_key = $2, session_id = $3, agent_id = $4, state = $5, is_over = $6, message_id = $7, started_by = $8, \
    origin = $9, options = $10, model = $11, accepted_at = $12, started_at = $13, ended_at = $14, iterations = $15, usage = $16, \
    next_seq = $17, end_reason = $18, error_kind = $20, error_message = $21, response = $22, awaiting = $23, owner = $24";

/// Runs that no living node drives.
const ORPHANED: &str = "NOT is_over AND NOT EXISTS (SELECT 1 FROM nodes WHERE fence = owner)";

fn run(row: &Row) -> Result<Run, StoreError> {
    let error = match text_if_any(row, 18)? {
        Some(kind) => Some(RunError { kind: error_kind(&kind), message: text(row, 19)? }),
        None => None,
    };
    let model = match text_if_any(row, 9)? {
        Some(_) => Some(word(row, 9, |text| text.parse::<ModelRef>().ok())?),
        None => None,
    };
    Ok(Run {
        id: RunId::trusted(text(row, 0)?),
        session_key: SessionKey::trusted(text(row, 1)?),
        session_id: SessionId::trusted(text(row, 2)?),
        agent_id: word(row, 3, |text| AgentId::parse(text).ok())?,
        state: word(row, 4, RunState::parse)?,
        message_id: MessageId::trusted(text(row, 5)?),
        started_by: text(row, 6)?,
        origin: text(row, 7)?,
        options: json(row, 8)?,
        model,
        accepted_at: time(row, 10)?,
        started_at: time_if_any(row, 11)?,
        ended_at: time_if_any(row, 12)?,
        iterations: small_count(row, 13)?,
        usage: json(row, 14)?,
        next_seq: count(row, 15)?,
        end_reason: json_if_any(row, 16)?,
        stop_cause: json_if_any(row, 17)?,
        error,
        response: text_if_any(row, 20)?,
        awaiting: json_if_any(row, 21)?,
        owner: Fence(count(row, 22)?),
    })
}

/// The parameters of every statement that writes a whole run.
fn row(run: &Run) -> Result<Vec<Value>, StoreError> {
    Ok(values![
        run.id.as_str(),
        run.session_key.as_str(),
        run.session_id.as_str(),
        run.agent_id.as_str(),
        run.state.as_str(),
        run.state.is_over(),
        run.message_id.as_str(),
        &run.started_by,
        &run.origin,
        values::json(&run.options)?,
        run.model.as_ref().map(ModelRef::to_string),
        run.accepted_at.as_ms(),
        run.started_at.map(Timestamp::as_ms),
        run.ended_at.map(Timestamp::as_ms),
        run.iterations,
        values::json(&run.usage)?,
        stored(run.next_seq)?,
        run.end_reason.as_ref().map(values::json).transpose()?,
        run.stop_cause.as_ref().map(values::json).transpose()?,
        run.error.as_ref().map(|error| error_word(error.kind)),
        run.error.as_ref().map(|error| &error.message),
        run.response.as_ref(),
        run.awaiting.as_ref().map(values::json).transpose()?,
        stored(run.owner.0)?,
    ])
}

fn is_there(run: &Run) -> StoreError {
    StoreError::Conflict(format!("the run `{}` is there already", run.id))
}

impl RunQueries for Database {
    fn get(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        if self.known.borrow().run(id) == Some(None) {
            return Ok(None);
        }
        self.row(&format!("SELECT {COLUMNS} FROM runs WHERE run_id = $1"), values![id.as_str()], run)
    }

    fn unfinished(&self) -> Result<Vec<Run>, StoreError> {
        self.rows(&format!("SELECT {COLUMNS} FROM runs WHERE NOT is_over ORDER BY ordinal"), Vec::new(), run)
    }

    fn unfinished_of(&self, session: &SessionKey) -> Result<Vec<Run>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE session_key = $1 AND NOT is_over ORDER BY ordinal");
        self.rows(&sql, values![session.as_str()], run)
    }

    fn orphans(&self) -> Result<Vec<Run>, StoreError> {
        self.rows(&format!("SELECT {COLUMNS} FROM runs WHERE {ORPHANED} ORDER BY ordinal"), Vec::new(), run)
    }

    fn recent_of(&self, session: &SessionKey, limit: u32) -> Result<Vec<Run>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE session_key = $1 ORDER BY ordinal DESC LIMIT $2");
        self.rows(&sql, values![session.as_str(), limit], run)
    }

    fn inputs(&self, run: &RunId) -> Result<Vec<PendingInput>, StoreError> {
        if self.known.borrow().has_none(run, |known| known.has_inputs) {
            return Ok(Vec::new());
        }
        let sql = "SELECT input_id, text, created_at FROM run_inputs WHERE run_id = $1 ORDER BY ordinal";
        self.rows(sql, values![run.as_str()], |row| {
            Ok(PendingInput { id: InputId::trusted(text(row, 0)?), text: text(row, 1)?, at: time(row, 2)? })
        })
    }
}

impl RunWrites for Database {
    fn insert(&self, run: &Run) -> Result<(), StoreError> {
        let known = self.known.borrow().run(&run.id);
        match known {
            // Its id is free; should it not be, the statement fails and takes the transaction with it.
            Some(None) => self.defer(INSERT, row(run)?)?,
            Some(Some(_)) => return Err(is_there(run)),
            None if self.execute(&format!("{INSERT} ON CONFLICT (run_id) DO NOTHING"), row(run)?)? == 0 => {
                return Err(is_there(run));
            }
            None => {}
        }
        self.known.borrow_mut().insert_run(run);
        Ok(())
    }

    fn update(&self, run: &Run) -> Result<bool, StoreError> {
        let sql = format!("UPDATE runs SET {ASSIGNED}, stop_cause = $19 WHERE run_id = $1");
        let mut known = self.known.borrow_mut();
        known.forget_owners();
        known.update_run(run);
        drop(known);
        Ok(self.execute(&sql, row(run)?)? > 0)
    }

    fn update_unfinished(&self, run: &Run) -> Result<bool, StoreError> {
        // A run that goes on keeps the wish to stop it that was written down meanwhile; one that ends says itself why.
        let sql = format!(
            "UPDATE runs SET {ASSIGNED}, stop_cause = CASE WHEN $6 THEN $19 ELSE COALESCE($19, stop_cause) END \
             WHERE run_id = $1 AND NOT is_over AND owner = $24"
        );
        let known = self.known.borrow().run(&run.id);
        let is_updated = match known {
            Some(Some(known)) if !known.is_over && known.owner == run.owner => {
                // Should it not be there after all, dividing by the number of rows takes the transaction with it.
                let sure = format!("WITH updated AS ({sql} RETURNING 1) SELECT 1 / COUNT(*) FROM updated");
                self.defer(&sure, row(run)?)?;
                true
            }
            Some(_) => false,
            None => self.execute(&sql, row(run)?)? > 0,
        };
        if is_updated {
            self.known.borrow_mut().update_run(run);
        }
        Ok(is_updated)
    }

    fn adopt(&self, owner: Fence) -> Result<u64, StoreError> {
        self.known.borrow_mut().forget();
        self.execute(&format!("UPDATE runs SET owner = $1 WHERE {ORPHANED}"), values![stored(owner.0)?])
    }

    fn add_input(&self, run: &RunId, input: &PendingInput) -> Result<(), StoreError> {
        let sql = "INSERT INTO run_inputs (input_id, run_id, text, created_at) \
            SELECT $1, run_id, $3, $4 FROM runs WHERE run_id = $2 ON CONFLICT (input_id) DO NOTHING";
        let added = self.execute(sql, values![input.id.as_str(), run.as_str(), &input.text, input.at.as_ms()])?;
        match added {
            0 => Err(StoreError::Conflict(format!("there is no run `{run}`, or the input `{}` is taken", input.id))),
            _ => {
                self.known.borrow_mut().set_inputs(run, true);
                Ok(())
            }
        }
    }

    fn remove_inputs(&self, run: &RunId, inputs: &[InputId]) -> Result<(), StoreError> {
        let inputs = inputs.iter().map(|input| values::escaped(input.as_str())).collect();
        let sql = "DELETE FROM run_inputs WHERE run_id = $1 AND input_id = ANY($2)";
        self.defer(sql, vec![Value::from(run.as_str()), Value::Texts(inputs)])
    }

    fn clear_inputs(&self, run: &RunId) -> Result<(), StoreError> {
        if self.known.borrow().has_none(run, |known| known.has_inputs) {
            return Ok(());
        }
        self.known.borrow_mut().set_inputs(run, false);
        self.defer("DELETE FROM run_inputs WHERE run_id = $1", values![run.as_str()])
    }
}
