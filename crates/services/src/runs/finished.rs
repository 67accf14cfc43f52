//! Finished runs of ephemeral sessions, whose rows went with their session: for a while a client may
//! still ask what became of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{Run, RunId, Timestamp};

/// How many are kept; the oldest go first.
const RUNS_MAX: usize = 1000;
/// How much text their answers may have together, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;
const KEPT_MS: i64 = 3_600_000;

#[derive(Default)]
pub(crate) struct Finished {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    runs: HashMap<RunId, Run>,
    order: VecDeque<RunId>,
    text_bytes: usize,
}

impl Finished {
    pub(crate) fn keep(&self, run: Run) {
        let mut kept = self.lock();
        if kept.runs.contains_key(&run.id) {
            return;
        }
        kept.text_bytes += text_bytes(&run);
        kept.order.push_back(run.id.clone());
        kept.runs.insert(run.id.clone(), run);
        while kept.order.len() > RUNS_MAX || kept.text_bytes > TEXT_BYTES_MAX {
            kept.drop_oldest();
        }
    }

    pub(crate) fn get(&self, id: &RunId, now: Timestamp) -> Option<Run> {
        let mut kept = self.lock();
        while kept.order.front().is_some_and(|oldest| kept.runs.get(oldest).is_none_or(|run| is_old(run, now))) {
            kept.drop_oldest();
        }
        kept.runs.get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop_oldest(&mut self) {
        if let Some(run) = self.order.pop_front().and_then(|id| self.runs.remove(&id)) {
            self.text_bytes -= text_bytes(&run);
        }
    }
}

fn text_bytes(run: &Run) -> usize {
    run.response.as_ref().map_or(0, String::len)
}

fn is_old(run: &Run, now: Timestamp) -> bool {
    run.ended_at.is_none_or(|at| at.plus_ms(KEPT_MS) < now)
}
