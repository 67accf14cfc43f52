//! A database in memory that runs every unit of work where it is handed in.
//!
//! For simulations: without threads of its own, what happens depends on nothing but the order of calls.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::Fence;
use store::backend::jobs::Orders;
use store::{Announce, ReadJob, Store, StoreError, WriteJob};

use crate::connection::Database;
use crate::writer;
use crate::{SqliteOptions, migrate};

/// See the [module](self).
pub struct InlineStore {
    database: Mutex<Database>,
    orders: Orders,
}

impl InlineStore {
    pub fn open() -> Result<Self, StoreError> {
        let database = Database::open_memory(&SqliteOptions::default())?;
        migrate::migrate(&database)?;
        Ok(Self { database: Mutex::new(database), orders: Orders::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Store for InlineStore {
    async fn submit(&self, job: WriteJob) {
        let database = self.lock();
        writer::run_here(&database, &self.orders, &mut VecDeque::from([job]));
    }

    async fn submit_read(&self, job: ReadJob) {
        let database = self.lock();
        job(Ok(&*database));
    }

    fn announce_to(&self, listener: Arc<dyn Announce>) {
        if self.orders.listener.set(listener).is_err() {
            tracing::error!("a second listener of committed events was refused");
        }
    }

    fn write_as(&self, fence: Fence) {
        if self.orders.fence.set(fence).is_err() {
            tracing::error!(%fence, "a second node for one store was refused");
        }
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn close(&self) {}

    fn describe(&self) -> String {
        String::from("sqlite::memory:")
    }
}
