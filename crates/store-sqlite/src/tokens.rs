//! Rows of credentials.

use model::{ScopeSet, Timestamp, TokenId};
use rusqlite::{Row, params};
use store::{StoreError, TokenQueries, TokenRecord, TokenWrites};

use crate::columns::{text, time, time_if_any, word};
use crate::connection::Database;

const COLUMNS: &str = "token_id, name, hash, scopes, role, device_id, parent, created_at, expires_at, revoked_at";

fn token(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    Ok(TokenRecord {
        id: TokenId::trusted(text(row, 0)?),
        name: row.get(1)?,
        hash: row.get(2)?,
        scopes: word(row, 3, |text| Some(ScopeSet::from_text(text)))?,
        role: row.get(4)?,
        device_id: row.get(5)?,
        parent: row.get::<_, Option<std::sync::Arc<str>>>(6)?.map(TokenId::trusted),
        created_at: time(row, 7)?,
        expires_at: time_if_any(row, 8)?,
        revoked_at: time_if_any(row, 9)?,
    })
}

impl TokenQueries for Database {
    fn by_hash(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM tokens WHERE hash = ?1"), [hash], token)
    }

    fn get(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM tokens WHERE token_id = ?1"), [id.as_str()], token)
    }

    fn list(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.rows(&format!("SELECT {COLUMNS} FROM tokens ORDER BY created_at DESC, token_id DESC"), [], token)
    }
}

impl TokenWrites for Database {
    fn put(&self, token: &TokenRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO tokens (token_id, name, hash, scopes, role, device_id, parent, created_at, expires_at, revoked_at) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (token_id) DO UPDATE SET name = ?2, hash = ?3, scopes = ?4, \
            role = ?5, device_id = ?6, parent = ?7, created_at = ?8, expires_at = ?9, revoked_at = ?10";
        self.execute(
            sql,
            params![
                token.id.as_str(),
                token.name,
                token.hash,
                token.scopes.to_text(),
                token.role,
                token.device_id,
                token.parent.as_ref().map(TokenId::as_str),
                token.created_at.as_ms(),
                token.expires_at.map(Timestamp::as_ms),
                token.revoked_at.map(Timestamp::as_ms),
            ],
        )
        .map(drop)
    }

    fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute("DELETE FROM tokens WHERE expires_at < ?1 OR revoked_at < ?1", [before.as_ms()])
    }
}
