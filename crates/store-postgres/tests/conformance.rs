//! The contracts of a store, kept by PostgreSQL.

use std::sync::Arc;

use store::Store;
use store::testkit::Reopen;
use store_postgres::{PostgresOptions, PostgresStore};
use testservers::Postgres;

struct Fresh(String);

impl Fresh {
    fn new() -> Self {
        Self(Postgres::shared().fresh_database())
    }
}

#[async_trait::async_trait]
impl Reopen for Fresh {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(PostgresStore::open(&self.0, PostgresOptions::default()).expect("opens"))
    }
}

store::conformance!(Fresh::new());
