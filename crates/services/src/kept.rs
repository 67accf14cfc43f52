//! Things that are kept for a while in the store, so that every node has them and a restart does not
//! lose them: responses, ended runs of sessions that are gone, turns that were handed to a client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Clock, OpError, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{KeptBounds, Snapshot, Store, StoreError, Tx};

/// Things of one kind, and how much of it is kept, over all nodes.
#[derive(Debug, Clone, Copy)]
pub struct Shelf {
    pub kind: &'static str,
    /// How many; the oldest go first.
    pub count_max: u64,
    /// How much they may have together, in bytes of JSON.
    pub bytes_max: u64,
    /// For how long, in milliseconds.
    pub kept_ms: i64,
}

/// A node looks for what is too much when it has put this part of it there itself.
const PRUNE_PART: u64 = 16;

/// What is put on a shelf.
#[derive(Debug, Clone)]
pub struct Thing {
    pub id: String,
    /// The principal that may have it again; empty for those whose id is enough.
    pub owner: String,
    pub body: serde_json::Value,
    pub at: Timestamp,
}

impl Thing {
    pub fn new(id: impl Into<String>, owner: impl Into<String>, body: &impl Serialize, at: Timestamp) -> Thing {
        // What is kept is made of texts, numbers and lists; none of it has keys that JSON lacks.
        let body = serde_json::to_value(body).unwrap_or_default();
        Thing { id: id.into(), owner: owner.into(), body, at }
    }
}

pub struct KeptThings {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// What this node has put on each shelf since it last looked: number and bytes.
    put: Mutex<HashMap<&'static str, (u64, u64)>>,
}

impl KeptThings {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, put: Mutex::default() }
    }

    /// Puts things on a shelf, all of them or none.
    pub async fn keep(self: &Arc<Self>, shelf: &'static Shelf, things: Vec<Thing>) -> Result<(), OpError> {
        let kept = Arc::clone(self);
        self.store
            .write::<_, OpError, _>(move |tx| {
                things.iter().try_for_each(|thing| kept.put(tx, shelf, thing)).map_err(OpError::from)
            })
            .await
    }

    /// The same within another unit of work.
    pub(crate) fn put(&self, tx: &dyn Tx, shelf: &'static Shelf, thing: &Thing) -> Result<(), StoreError> {
        let Thing { id, owner, body, at } = thing.clone();
        let bytes = tx.kept_mut().put(shelf.kind, &store::Kept { id, owner, body, at })?;
        if self.is_time_to_prune(shelf, bytes) {
            let since = self.clock.now().plus_ms(-shelf.kept_ms);
            let bounds = KeptBounds { since, count: shelf.count_max, bytes: shelf.bytes_max };
            tx.kept_mut().prune(shelf.kind, bounds)?;
        }
        Ok(())
    }

    fn is_time_to_prune(&self, shelf: &Shelf, bytes: u64) -> bool {
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        let since = put.entry(shelf.kind).or_default();
        *since = (since.0 + 1, since.1 + bytes);
        let is_time = since.0 > shelf.count_max / PRUNE_PART || since.1 > shelf.bytes_max / PRUNE_PART;
        if is_time {
            *since = (0, 0);
        }
        is_time
    }

    /// What is kept for `owner` under this id.
    pub async fn get<T>(&self, shelf: &'static Shelf, owner: &str, id: &str) -> Result<Option<T>, OpError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let (owner, id, now) = (owner.to_owned(), id.to_owned(), self.clock.now());
        self.store.read::<_, OpError, _>(move |snapshot| Ok(find(snapshot, shelf, &owner, &id, now)?)).await
    }

    /// Forgets a thing of `owner`, and whatever belongs to it on other shelves; `None` when there is none.
    pub async fn forget<T>(
        &self,
        shelf: &'static Shelf,
        (owner, id): (&str, &str),
        belongings: impl FnOnce(&T) -> Vec<(&'static Shelf, String)> + Send + 'static,
    ) -> Result<Option<T>, OpError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let (owner, id, now) = (owner.to_owned(), id.to_owned(), self.clock.now());
        self.store
            .write::<_, OpError, _>(move |tx| {
                let Some(thing) = find::<T>(tx, shelf, &owner, &id, now)? else { return Ok(None) };
                tx.kept_mut().delete(shelf.kind, &id)?;
                for (shelf, id) in belongings(&thing) {
                    tx.kept_mut().delete(shelf.kind, &id)?;
                }
                Ok(Some(thing))
            })
            .await
    }
}

/// What is kept for `owner` under this id, as of `now`.
pub(crate) fn find<T: DeserializeOwned>(
    snapshot: &(impl Snapshot + ?Sized),
    shelf: &Shelf,
    owner: &str,
    id: &str,
    now: Timestamp,
) -> Result<Option<T>, StoreError> {
    let found = snapshot.kept().get(shelf.kind, id)?;
    let found = found.filter(|kept| kept.owner == owner && kept.at.plus_ms(shelf.kept_ms) >= now);
    // What another version has kept in a form of its own is gone.
    Ok(found.and_then(|kept| serde_json::from_value(kept.body).ok()))
}
