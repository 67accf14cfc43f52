//! Finding the way back to a server that is away.

use std::time::{Duration, Instant};

use store::StoreError;
use store::backend::jobs::again;

use crate::PostgresOptions;
use crate::address::Address;
use crate::connection::Database;

/// The wait after the first attempt that failed; it doubles with each.
const WAIT_MIN: Duration = Duration::from_millis(50);

/// Makes connections, not too often: a server that comes back must not be met by a crowd.
pub struct Connector {
    address: Address,
    options: PostgresOptions,
    wait_max: Duration,
    wait: Duration,
    /// When the last attempt failed, and how.
    failed: Option<(Instant, StoreError)>,
}

impl Connector {
    /// After `wait_max` at the latest another attempt is made.
    pub fn new(address: Address, options: PostgresOptions, wait_max: Duration) -> Self {
        Self { address, options, wait_max, wait: Duration::ZERO, failed: None }
    }

    /// A new connection. The first attempt is made at once; after one that failed, the same error is
    /// given without an attempt until it is time for the next.
    pub fn connect(&mut self) -> Result<Database, StoreError> {
        if let Some((at, error)) = &self.failed
            && at.elapsed() < self.wait
        {
            return Err(again(error));
        }
        match Database::open(&self.address, &self.options) {
            Ok(database) => {
                if self.failed.take().is_some() {
                    tracing::info!(database = self.address.shown(), "the database is back");
                }
                self.wait = Duration::ZERO;
                Ok(database)
            }
            Err(error) => {
                self.put_off(again(&error));
                Err(error)
            }
        }
    }

    /// Counts an attempt as failed.
    pub fn put_off(&mut self, error: StoreError) {
        if self.failed.is_none() {
            tracing::warn!(%error, "the database is away");
        }
        self.wait = (self.wait * 2).clamp(WAIT_MIN, self.wait_max);
        self.failed = Some((Instant::now(), error));
    }

    /// How long until the next attempt.
    pub fn remaining(&self) -> Duration {
        let waited = self.failed.as_ref().map_or(Duration::MAX, |(at, _)| at.elapsed());
        self.wait.saturating_sub(waited)
    }
}
