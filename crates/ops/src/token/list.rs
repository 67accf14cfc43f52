use model::{OpError, Scope, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// List stored tokens, newest first. Secrets are not stored and cannot be shown.
#[derive(JsonSchema)]
pub struct TokenList;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub tokens: Vec<TokenView>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct TokenView {
    pub id: String,
    pub name: String,
    /// `operator`, `node`, `device` or `guest`.
    pub role: String,
    pub scopes: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Unix milliseconds, as the other times.
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
}

impl Operation for TokenList {
    const NAME: &'static str = "token.list";
    const SCOPE: Option<Scope> = Some(Scope::Admin);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, _: Params) -> Result<Reply<Output>, OpError> {
        let records = call.services.tokens.list().await?;
        let tokens = records.into_iter().map(|record| TokenView {
            id: record.id.to_string(),
            name: record.name,
            role: record.role,
            scopes: record.scopes.iter().map(Scope::as_str).collect(),
            device_id: record.device_id,
            created_at: record.created_at.as_ms(),
            expires_at: record.expires_at.map(Timestamp::as_ms),
            revoked_at: record.revoked_at.map(Timestamp::as_ms),
        });
        Ok(Output { tokens: tokens.collect() }.into())
    }
}
