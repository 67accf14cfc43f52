//! The contracts of a store, kept by SQLite.

use std::sync::Arc;

use store::Store;
use store::testkit::Reopen;
use store_sqlite::{SqliteOptions, SqliteStore};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }
}

#[async_trait::async_trait]
impl Reopen for Folder {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.0.path().join("patchbay.db"), SqliteOptions::default()).expect("opens"))
    }
}

store::conformance!(Folder::new());
