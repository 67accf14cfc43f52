//! Rows of runs and of the input that waits for them.

use std::sync::LazyLock;

use model::{
    AgentId, Fence, InputId, MessageId, ModelRef, Run, RunError, RunId, RunState, SessionId, SessionKey, Timestamp,
};
use store::backend::numbers::stored;
use store::backend::rows::{error_kind, error_word};
use store::{PendingInput, RunQueries, RunWrites, StoreError};
use tokio_postgres::Row;

use crate::columns::{count, json, json_if_any, small_count, text, text_if_any, time, time_if_any, word};
use crate::connection::Database;
use crate::rows::{Column, Kind, assigned, given, names};
use crate::values::{self, Value, values};

const COLUMNS: &str = "run_id, session_key, session_id, agent_id, state, message_id, started_by, origin, options, model, accepted_at, \
    started_at, ended_at, iterations, usage, next_seq, end_reason, stop_cause, error_kind, error_message, response, awaiting, owner";

/// The columns that a run is written with, in the order of [`row`].
const WRITTEN: [Column; 24] = [
    ("run_id", "text"),
    ("session_key", "text"),
    ("session_id", "text"),
    ("agent_id", "text"),
    ("state", "text"),
    ("is_over", "bool"),
    ("message_id", "text"),
    ("started_by", "text"),
    ("origin", "text"),
    ("options", "text"),
    ("model", "text"),
    ("accepted_at", "bigint"),
    ("started_at", "bigint"),
    ("ended_at", "bigint"),
    ("iterations", "bigint"),
    ("usage", "text"),
    ("next_seq", "bigint"),
    ("end_reason", "text"),
    ("stop_cause", "text"),
    ("error_kind", "text"),
    ("error_message", "text"),
    ("response", "text"),
    ("awaiting", "text"),
    ("owner", "bigint"),
];

/// Runs whose ids are free.
static INSERT_ALL: LazyLock<String> =
    LazyLock::new(|| format!("INSERT INTO runs ({}) SELECT * FROM {}", names(&WRITTEN), given(&WRITTEN)));

static INSERT_IF_FREE: LazyLock<String> = LazyLock::new(|| {
    let values = (1..=WRITTEN.len()).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO runs ({}) VALUES ({values}) ON CONFLICT (run_id) DO NOTHING", names(&WRITTEN))
});

/// Index entries are rewritten only for values that change.
static UPDATE: LazyLock<String> = LazyLock::new(|| {
    let assigned = assigned(&WRITTEN, |_, at| format!("${at}"));
    format!("UPDATE runs SET {assigned} WHERE run_id = $1")
});

/// A run that goes on keeps the wish to stop it that was written down meanwhile; one that ends says itself why.
static UPDATE_UNFINISHED: LazyLock<String> = LazyLock::new(|| {
    let assigned = assigned(&WRITTEN, |name, at| match name {
        "stop_cause" => format!("CASE WHEN $6 THEN ${at} ELSE COALESCE(${at}, stop_cause) END"),
        _ => format!("${at}"),
    });
    format!("UPDATE runs SET {assigned} WHERE run_id = $1 AND NOT is_over AND owner = $24")
});

/// The same for runs of which it is known that they are there, not over and their owner's. Should one not be
/// so after all, the division takes the transaction with it.
static UPDATE_ALL: LazyLock<String> = LazyLock::new(|| {
    let assigned = assigned(&WRITTEN, |name, _| match name {
        "stop_cause" => {
            String::from("CASE WHEN n.is_over THEN n.stop_cause ELSE COALESCE(n.stop_cause, r.stop_cause) END")
        }
        _ => format!("n.{name}"),
    });
    format!(
        "WITH changed AS (UPDATE runs r SET {assigned} FROM {} WHERE r.run_id = n.run_id AND NOT r.is_over \
         AND r.owner = n.owner RETURNING 1) SELECT 1 / (COUNT(*) = cardinality($1))::int FROM changed",
        given(&WRITTEN)
    )
});

/// Runs of sessions `$1` that are not over, in the order in which they were accepted.
pub static UNFINISHED: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {COLUMNS} FROM runs WHERE session_key = ANY($1) AND NOT is_over ORDER BY ordinal")
});

/// Runs that no living node drives.
const ORPHANED: &str = "NOT is_over AND NOT EXISTS (SELECT 1 FROM nodes WHERE fence = owner)";

pub fn run(row: &Row) -> Result<Run, StoreError> {
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

/// The values of [`WRITTEN`].
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
        if let Some(known) = self.known.borrow().unfinished(session) {
            return Ok(known.clone());
        }
        self.rows(&UNFINISHED, values![[session.as_str()].as_slice()], run)
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
        let is_known = self.known.borrow().run(&run.id).map(|known| known.is_some());
        match is_known {
            // Its id is free; should it not be, the statement fails and takes the transaction with it.
            Some(false) => self.defer_row(Kind::NewRun, &INSERT_ALL, row(run)?)?,
            Some(true) => return Err(is_there(run)),
            None if self.execute(&INSERT_IF_FREE, row(run)?)? == 0 => {
                return Err(is_there(run));
            }
            None => {}
        }
        self.known.borrow_mut().insert_run(run);
        Ok(())
    }

    fn update(&self, run: &Run) -> Result<bool, StoreError> {
        self.known.borrow_mut().update_run(run);
        Ok(self.execute(&UPDATE, row(run)?)? > 0)
    }

    fn update_unfinished(&self, run: &Run) -> Result<bool, StoreError> {
        let known = self.known.borrow();
        let may_change =
            known.run(&run.id).map(|known| known.is_some_and(|known| !known.is_over && known.owner == run.owner));
        drop(known);
        let is_updated = match may_change {
            Some(true) => {
                self.defer_row(Kind::RunChange, &UPDATE_ALL, row(run)?)?;
                true
            }
            Some(false) => false,
            None => self.execute(&UPDATE_UNFINISHED, row(run)?)? > 0,
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
