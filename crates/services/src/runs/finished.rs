//! Finished runs of ephemeral sessions, whose rows went with their session: for a while a client may
//! still ask what became of them.

use model::{Run, RunId, Timestamp};
use store::{Snapshot, StoreError, Tx};

use crate::kept::{self, KeptThings, Shelf, Thing};

const SHELF: Shelf = Shelf { kind: "run", count_max: 1000, bytes_max: 4 * 1024 * 1024, kept_ms: 3_600_000 };

pub(super) fn keep(tx: &dyn Tx, things: &KeptThings, run: &Run) -> Result<(), StoreError> {
    let at = run.ended_at.unwrap_or(run.accepted_at);
    things.put(tx, &SHELF, &Thing::new(run.id.as_str(), "", run, at))
}

pub(super) fn find(snapshot: &(impl Snapshot + ?Sized), id: &RunId, now: Timestamp) -> Result<Option<Run>, StoreError> {
    kept::find(snapshot, &SHELF, "", id.as_str(), now)
}
