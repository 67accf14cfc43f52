//! Rows of documents.

use store::{Document, DocumentQueries, DocumentWrites, StoreError};
use tokio_postgres::Row;

use crate::columns::{self, text, time};
use crate::connection::Database;
use crate::values::{json, values};

fn document(row: &Row) -> Result<Document, StoreError> {
    Ok(Document { id: text(row, 0)?, body: columns::json(row, 1)?, updated_at: time(row, 2)? })
}

/// An entry of an index has at most 2704 bytes, and a name that is longer must not fail others' units.
const NAME_BYTES_MAX: usize = 2048;

impl DocumentQueries for Database {
    fn get(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
        let sql = "SELECT document_id, body, updated_at FROM documents WHERE kind = $1 AND document_id = $2";
        self.row(sql, values![kind, id], document)
    }

    fn list(&self, kind: &str) -> Result<Vec<Document>, StoreError> {
        let sql = "SELECT document_id, body, updated_at FROM documents WHERE kind = $1 ORDER BY document_id";
        self.rows(sql, values![kind], document)
    }
}

impl DocumentWrites for Database {
    fn put(&self, kind: &str, document: &Document) -> Result<(), StoreError> {
        if kind.len() + document.id.len() > NAME_BYTES_MAX {
            return Err(StoreError::Conflict(format!("a document's name has more than {NAME_BYTES_MAX} bytes")));
        }
        let sql = "INSERT INTO documents (kind, document_id, body, updated_at) VALUES ($1, $2, $3, $4) \
            ON CONFLICT (kind, document_id) DO UPDATE SET body = $3, updated_at = $4";
        self.defer(sql, values![kind, &document.id, json(&document.body)?, document.updated_at.as_ms()])
    }

    fn delete(&self, kind: &str, id: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM documents WHERE kind = $1 AND document_id = $2", values![kind, id])? > 0)
    }
}
