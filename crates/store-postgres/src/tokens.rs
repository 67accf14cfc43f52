//! Rows of credentials.

use model::{ScopeSet, Timestamp, TokenId};
use store::{StoreError, TokenQueries, TokenRecord, TokenWrites};
use tokio_postgres::Row;

use crate::columns::{text, text_if_any, time, time_if_any, word};
use crate::connection::Database;
use crate::values::values;

const COLUMNS: &str = "token_id, name, hash, scopes, role, device_id, parent, created_at, expires_at, revoked_at";

fn token(row: &Row) -> Result<TokenRecord, StoreError> {
    Ok(TokenRecord {
        id: TokenId::trusted(text(row, 0)?),
        name: text(row, 1)?,
        hash: text(row, 2)?,
        scopes: word(row, 3, |text| Some(ScopeSet::from_text(text)))?,
        role: text(row, 4)?,
        device_id: text_if_any(row, 5)?,
        parent: text_if_any(row, 6)?.map(TokenId::trusted),
        created_at: time(row, 7)?,
        expires_at: time_if_any(row, 8)?,
        revoked_at: time_if_any(row, 9)?,
    })
}

impl TokenQueries for Database {
    fn by_hash(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM tokens WHERE hash = $1"), values![hash], token)
    }

    fn get(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM tokens WHERE token_id = $1"), values![id.as_str()], token)
    }

    fn list(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.rows(&format!("SELECT {COLUMNS} FROM tokens ORDER BY created_at DESC, token_id DESC"), Vec::new(), token)
    }
}

impl TokenWrites for Database {
    fn put(&self, token: &TokenRecord) -> Result<(), StoreError> {
        // Looked for first: a broken rule would take the unit's other statements with it, also where it goes on.
        let sql = "INSERT INTO tokens (token_id, name, hash, scopes, role, device_id, parent, created_at, expires_at, revoked_at) \
            SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 \
            WHERE NOT EXISTS (SELECT 1 FROM tokens WHERE hash = $3 AND token_id <> $1) \
            ON CONFLICT (token_id) DO UPDATE SET name = $2, hash = $3, scopes = $4, role = $5, device_id = $6, parent = $7, \
            created_at = $8, expires_at = $9, revoked_at = $10";
        let values = values![
            token.id.as_str(),
            &token.name,
            &token.hash,
            token.scopes.to_text(),
            &token.role,
            token.device_id.as_ref(),
            token.parent.as_ref().map(TokenId::as_str),
            token.created_at.as_ms(),
            token.expires_at.map(Timestamp::as_ms),
            token.revoked_at.map(Timestamp::as_ms),
        ];
        match self.execute(sql, values)? {
            0 => Err(StoreError::Conflict(format!("another token has the hash of `{}`", token.id))),
            _ => Ok(()),
        }
    }

    fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute("DELETE FROM tokens WHERE expires_at < $1 OR revoked_at < $1", values![before.as_ms()])
    }
}
