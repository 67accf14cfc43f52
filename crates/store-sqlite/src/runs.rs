//! Rows of runs and of the input that waits for them.

use model::{
    AgentId, Fence, InputId, MessageId, ModelRef, Run, RunError, RunId, RunState, SessionId, SessionKey, Timestamp,
};
use rusqlite::{Row, params};
use store::backend::numbers::stored;
use store::backend::rows::{error_kind, error_word};
use store::{PendingInput, RunQueries, RunWrites, StoreError};

use crate::columns::{Json, count, text, time, time_if_any, word};
use crate::connection::Database;

const COLUMNS: &str = "run_id, session_key, session_id, agent_id, state, message_id, started_by, origin, options, model, accepted_at, \
    started_at, ended_at, iterations, usage, next_seq, end_reason, stop_cause, error_kind, error_message, response, awaiting, owner";

/// The columns that an update sets whatever it is about: all but the indexed ones and `stop_cause`.
const PLAIN: &str = "session_id = ?3, agent_id = ?4, state = ?5, message_id = ?7, started_by = ?8, origin = ?9, options = ?10, \
    model = ?11, accepted_at = ?12, started_at = ?13, ended_at = ?14, iterations = ?15, usage = ?16, next_seq = ?17, \
    end_reason = ?18, error_kind = ?20, error_message = ?21, response = ?22, awaiting = ?23, owner = ?24";

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let kind: Option<String> = row.get(18)?;
    let error = match kind {
        Some(kind) => Some(RunError { kind: error_kind(&kind), message: row.get(19)? }),
        None => None,
    };
    let model: Option<String> = row.get(9)?;
    Ok(Run {
        id: RunId::trusted(text(row, 0)?),
        session_key: SessionKey::trusted(text(row, 1)?),
        session_id: SessionId::trusted(text(row, 2)?),
        agent_id: word(row, 3, |text| AgentId::parse(text).ok())?,
        state: word(row, 4, RunState::parse)?,
        message_id: MessageId::trusted(text(row, 5)?),
        started_by: row.get(6)?,
        origin: row.get(7)?,
        options: row.get::<_, Json<_>>(8)?.0,
        model: match model {
            Some(_) => Some(word(row, 9, |text| text.parse::<ModelRef>().ok())?),
            None => None,
        },
        accepted_at: time(row, 10)?,
        started_at: time_if_any(row, 11)?,
        ended_at: time_if_any(row, 12)?,
        iterations: row.get(13)?,
        usage: row.get::<_, Json<_>>(14)?.0,
        next_seq: count(row, 15)?,
        end_reason: row.get::<_, Option<Json<_>>>(16)?.map(|Json(reason)| reason),
        stop_cause: row.get::<_, Option<Json<_>>>(17)?.map(|Json(cause)| cause),
        error,
        response: row.get(20)?,
        awaiting: row.get::<_, Option<Json<_>>>(21)?.map(|Json(awaiting)| awaiting),
        owner: Fence(count(row, 22)?),
    })
}

impl RunQueries for Database {
    fn get(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM runs WHERE run_id = ?1"), [id.as_str()], run)
    }

    fn unfinished(&self) -> Result<Vec<Run>, StoreError> {
        self.rows(&format!("SELECT {COLUMNS} FROM runs WHERE is_over = 0 ORDER BY ordinal"), [], run)
    }

    fn unfinished_of(&self, session: &SessionKey) -> Result<Vec<Run>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE session_key = ?1 AND is_over = 0 ORDER BY ordinal");
        self.rows(&sql, [session.as_str()], run)
    }

    fn orphans(&self) -> Result<Vec<Run>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE is_over = 0 AND owner NOT IN (SELECT fence FROM nodes) ORDER BY ordinal"
        );
        self.rows(&sql, [], run)
    }

    fn recent_of(&self, session: &SessionKey, limit: u32) -> Result<Vec<Run>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE session_key = ?1 ORDER BY ordinal DESC LIMIT ?2");
        self.rows(&sql, (session.as_str(), limit), run)
    }

    fn inputs(&self, run: &RunId) -> Result<Vec<PendingInput>, StoreError> {
        let sql = "SELECT input_id, text, created_at FROM run_inputs WHERE run_id = ?1 ORDER BY ordinal";
        self.rows(sql, [run.as_str()], |row| {
            Ok(PendingInput { id: InputId::trusted(text(row, 0)?), text: row.get(1)?, at: time(row, 2)? })
        })
    }
}

impl Database {
    fn write_run(&self, sql: &str, run: &Run) -> Result<u64, StoreError> {
        self.execute(
            sql,
            params![
                run.id.as_str(),
                run.session_key.as_str(),
                run.session_id.as_str(),
                run.agent_id.as_str(),
                run.state.as_str(),
                run.state.is_over(),
                run.message_id.as_str(),
                run.started_by,
                run.origin,
                Json(&run.options),
                run.model.as_ref().map(ModelRef::to_string),
                run.accepted_at.as_ms(),
                run.started_at.map(Timestamp::as_ms),
                run.ended_at.map(Timestamp::as_ms),
                run.iterations,
                Json(&run.usage),
                stored(run.next_seq)?,
                run.end_reason.map(Json),
                run.stop_cause.map(Json),
                run.error.as_ref().map(|error| error_word(error.kind)),
                run.error.as_ref().map(|error| error.message.as_str()),
                run.response,
                run.awaiting.as_ref().map(Json),
                stored(run.owner.0)?,
            ],
        )
    }
}

impl RunWrites for Database {
    fn insert(&self, run: &Run) -> Result<(), StoreError> {
        let sql = "INSERT INTO runs (run_id, session_key, session_id, agent_id, state, is_over, message_id, started_by, origin, options, \
            model, accepted_at, started_at, ended_at, iterations, usage, next_seq, end_reason, stop_cause, error_kind, error_message, \
            response, awaiting, owner) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, \
            ?22, ?23, ?24)";
        self.write_run(sql, run).map(drop)
    }

    fn update(&self, run: &Run) -> Result<bool, StoreError> {
        // Two statements: a database rewrites the index entries of every column that is set, changed or not,
        // and the indexed ones hardly ever change.
        let sql = format!("UPDATE runs SET {PLAIN}, stop_cause = ?19 WHERE run_id = ?1");
        if self.write_run(&sql, run)? == 0 {
            return Ok(false);
        }
        let sql =
            "UPDATE runs SET session_key = ?2, is_over = ?3 WHERE run_id = ?1 AND (session_key <> ?2 OR is_over <> ?3)";
        self.execute(sql, (run.id.as_str(), run.session_key.as_str(), run.state.is_over()))?;
        Ok(true)
    }

    fn update_unfinished(&self, run: &Run) -> Result<bool, StoreError> {
        // A run that goes on keeps the wish to stop it that was written down meanwhile; one that ends says itself why.
        let sql = format!(
            "UPDATE runs SET {PLAIN}, stop_cause = CASE WHEN ?6 THEN ?19 ELSE COALESCE(?19, stop_cause) END \
             WHERE run_id = ?1 AND is_over = 0 AND owner = ?24"
        );
        if self.write_run(&sql, run)? == 0 {
            return Ok(false);
        }
        if run.state.is_over() {
            self.execute("UPDATE runs SET is_over = 1 WHERE run_id = ?1", [run.id.as_str()])?;
        }
        Ok(true)
    }

    fn adopt(&self, owner: Fence) -> Result<u64, StoreError> {
        let sql = "UPDATE runs SET owner = ?1 WHERE is_over = 0 AND owner NOT IN (SELECT fence FROM nodes)";
        self.execute(sql, [stored(owner.0)?])
    }

    fn add_input(&self, run: &RunId, input: &PendingInput) -> Result<(), StoreError> {
        let sql = "INSERT INTO run_inputs (input_id, run_id, text, created_at) VALUES (?1, ?2, ?3, ?4)";
        self.execute(sql, (input.id.as_str(), run.as_str(), &input.text, input.at.as_ms())).map(drop)
    }

    fn remove_inputs(&self, run: &RunId, inputs: &[InputId]) -> Result<(), StoreError> {
        let sql = "DELETE FROM run_inputs WHERE run_id = ?1 AND input_id = ?2";
        inputs.iter().try_for_each(|input| self.execute(sql, (run.as_str(), input.as_str())).map(drop))
    }

    fn clear_inputs(&self, run: &RunId) -> Result<(), StoreError> {
        self.execute("DELETE FROM run_inputs WHERE run_id = ?1", [run.as_str()]).map(drop)
    }
}
