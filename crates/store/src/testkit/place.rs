//! What a backend brings to the suite, and what all contracts share.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{Announce, Snapshot, Store, StoreError, StoredEvent, Tx};

/// An empty database that can be opened, and opened again once its store was closed or dropped.
#[async_trait::async_trait]
pub trait Reopen: Send + Sync {
    async fn open(&self) -> Arc<dyn Store>;
}

/// A unit of work that must succeed.
///
/// # Panics
/// When it does not.
pub async fn write<T, F>(store: &Arc<dyn Store>, work: F) -> T
where
    T: Send + 'static,
    F: FnOnce(&dyn Tx) -> Result<T, StoreError> + Send + 'static,
{
    store.write(work).await.expect("the unit of work is kept")
}

/// A read that must succeed.
///
/// # Panics
/// When it does not.
pub async fn read<T, F>(store: &Arc<dyn Store>, query: F) -> T
where
    T: Send + 'static,
    F: FnOnce(&dyn Snapshot) -> Result<T, StoreError> + Send + 'static,
{
    store.read(query).await.expect("the read is answered")
}

/// Why a unit of work of a contract ended without being kept.
#[derive(Debug)]
pub enum Undone {
    OnPurpose,
    Store(StoreError),
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Undone::Store(error)
    }
}

/// Writes down what was announced.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Vec<StoredEvent>>);

impl Heard {
    pub fn all(&self) -> Vec<StoredEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Announce for Heard {
    fn committed(&self, events: Vec<StoredEvent>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
    }
}

/// Random choices that repeat for a seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub const fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}
