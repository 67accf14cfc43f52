use model::{ErrorKind, OpError, Scope, ScopeSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::tokens::NewToken;

use crate::{Call, Class, Operation, Reply};

/// Make a token. Its secret is in this answer and never shown again.
///
/// A token never has more scopes than the caller's own.
#[derive(JsonSchema)]
pub struct TokenCreate;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    /// 1 to 64 characters, for people.
    pub name: String,
    /// Of `read`, `write`, `admin`, `approvals`, `pairing`; or `mcp` alone.
    pub scopes: Vec<Scope>,
    /// Days until it expires; absent = never.
    #[serde(default)]
    pub expires_days: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub id: String,
    pub name: String,
    pub scopes: Vec<&'static str>,
    /// The secret, shown once.
    pub token: String,
    /// Unix milliseconds.
    pub expires_at: Option<i64>,
}

impl Operation for TokenCreate {
    const NAME: &'static str = "token.create";
    const SCOPE: Option<Scope> = Some(Scope::Admin);
    const CLASS: Class = Class::Write;
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::Denied, ErrorKind::Unavailable];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let name = params.name.trim().to_owned();
        if !(1..=64).contains(&name.chars().count()) {
            return Err(OpError::invalid("name", "must have 1 to 64 characters"));
        }
        let scopes: ScopeSet = params.scopes.into_iter().collect();
        if scopes.is_empty() {
            return Err(OpError::invalid("scopes", "must not be empty"));
        }
        if scopes.contains(Scope::Mcp) && scopes.iter().count() > 1 {
            return Err(OpError::invalid("scopes", "`mcp` stands alone"));
        }
        // A token for the MCP endpoint reaches less than any scope an administrator has.
        if !scopes.is_subset(call.principal.scopes.with(Scope::Mcp)) {
            return Err(OpError::denied("a token cannot have more scopes than the one that makes it"));
        }
        let expires_at = match params.expires_days {
            Some(days) => {
                let days = crate::utility::bounded("expires_days", days, 1, 36_500)?;
                Some(call.services.clock.now().plus_ms(i64::try_from(days).unwrap_or(i64::MAX) * 86_400_000))
            }
            None => None,
        };
        let new = NewToken {
            name,
            scopes,
            role: String::from("operator"),
            device_id: None,
            parent: call.principal.token_id.clone().filter(|id| !id.as_str().starts_with("config:")),
            expires_at,
        };
        let (record, secret) = call.services.tokens.create(new).await?;
        Ok(Output {
            id: record.id.to_string(),
            name: record.name,
            scopes: record.scopes.iter().map(Scope::as_str).collect(),
            token: secret.expose_secret().to_owned(),
            expires_at: record.expires_at.map(model::Timestamp::as_ms),
        }
        .into())
    }
}
