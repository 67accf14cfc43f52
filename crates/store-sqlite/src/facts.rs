//! Rows of facts.

use model::{AgentId, SessionKey};
use store::{Fact, FactQueries, FactWrites, StoreError};

use crate::columns::{time, word};
use crate::connection::Database;

impl FactQueries for Database {
    fn list(&self, agent: &AgentId, limit: u32) -> Result<Vec<Fact>, StoreError> {
        let sql = "SELECT fact_id, agent_id, text, normalised, session_key, source, created_at FROM facts WHERE agent_id = ?1 \
            ORDER BY created_at DESC, ordinal DESC LIMIT ?2";
        self.rows(sql, (agent.as_str(), limit), |row| {
            Ok(Fact {
                id: row.get(0)?,
                agent: word(row, 1, |text| AgentId::parse(text).ok())?,
                text: row.get(2)?,
                normalised: row.get(3)?,
                session: row.get::<_, Option<std::sync::Arc<str>>>(4)?.map(SessionKey::trusted),
                source: row.get(5)?,
                created_at: time(row, 6)?,
            })
        })
    }
}

impl FactWrites for Database {
    fn insert(&self, fact: &Fact) -> Result<bool, StoreError> {
        let sql = "INSERT INTO facts (fact_id, agent_id, text, normalised, session_key, source, created_at) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (agent_id, normalised) DO NOTHING";
        let params = (
            &fact.id,
            fact.agent.as_str(),
            &fact.text,
            &fact.normalised,
            fact.session.as_ref().map(SessionKey::as_str),
            &fact.source,
            fact.created_at.as_ms(),
        );
        Ok(self.execute(sql, params)? > 0)
    }
}
