//! Rows of facts.

use model::{AgentId, SessionKey};
use store::{Fact, FactQueries, FactWrites, StoreError};

use crate::columns::{text, text_if_any, time, word};
use crate::connection::Database;
use crate::values::values;

impl FactQueries for Database {
    fn list(&self, agent: &AgentId, limit: u32) -> Result<Vec<Fact>, StoreError> {
        let sql = "SELECT fact_id, agent_id, text, normalised, session_key, source, created_at FROM facts \
            WHERE agent_id = $1 ORDER BY created_at DESC, ordinal DESC LIMIT $2";
        self.rows(sql, values![agent.as_str(), limit], |row| {
            Ok(Fact {
                id: text(row, 0)?,
                agent: word(row, 1, |text| AgentId::parse(text).ok())?,
                text: text(row, 2)?,
                normalised: text(row, 3)?,
                session: text_if_any(row, 4)?.map(SessionKey::trusted),
                source: text(row, 5)?,
                created_at: time(row, 6)?,
            })
        })
    }
}

impl FactWrites for Database {
    fn insert(&self, fact: &Fact) -> Result<bool, StoreError> {
        let sql = "INSERT INTO facts (fact_id, agent_id, text, normalised, session_key, source, created_at) \
            SELECT $1, $2, $3, $4, $5, $6, $7 \
            WHERE NOT EXISTS (SELECT 1 FROM facts WHERE agent_id = $2 AND normalised = $4)";
        let values = values![
            &fact.id,
            fact.agent.as_str(),
            &fact.text,
            &fact.normalised,
            fact.session.as_ref().map(SessionKey::as_str),
            &fact.source,
            fact.created_at.as_ms(),
        ];
        Ok(self.execute(sql, values)? > 0)
    }
}
