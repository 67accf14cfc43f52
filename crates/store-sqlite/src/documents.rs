//! Rows of documents.

use rusqlite::Row;
use store::{Document, DocumentQueries, DocumentWrites, StoreError};

use crate::columns::{Json, time};
use crate::connection::Database;

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document { id: row.get(0)?, body: row.get::<_, Json<_>>(1)?.0, updated_at: time(row, 2)? })
}

impl DocumentQueries for Database {
    fn get(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
        let sql = "SELECT document_id, body, updated_at FROM documents WHERE kind = ?1 AND document_id = ?2";
        self.row(sql, (kind, id), document)
    }

    fn list(&self, kind: &str) -> Result<Vec<Document>, StoreError> {
        let sql = "SELECT document_id, body, updated_at FROM documents WHERE kind = ?1 ORDER BY document_id";
        self.rows(sql, [kind], document)
    }
}

impl DocumentWrites for Database {
    fn put(&self, kind: &str, document: &Document) -> Result<(), StoreError> {
        let sql = "INSERT INTO documents (kind, document_id, body, updated_at) VALUES (?1, ?2, ?3, ?4) \
            ON CONFLICT (kind, document_id) DO UPDATE SET body = ?3, updated_at = ?4";
        self.execute(sql, (kind, &document.id, Json(&document.body), document.updated_at.as_ms())).map(drop)
    }

    fn delete(&self, kind: &str, id: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM documents WHERE kind = ?1 AND document_id = ?2", (kind, id))? > 0)
    }
}
