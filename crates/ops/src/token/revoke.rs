use model::{ErrorKind, Noun, OpError, Scope, TokenId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Class, Operation, Reply};

/// Revoke a token and those made with it. Connections that use it are closed.
#[derive(JsonSchema)]
pub struct TokenRevoke;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    pub id: TokenId,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    pub id: TokenId,
    /// `false` when it was revoked before.
    pub revoked: bool,
}

impl Operation for TokenRevoke {
    const NAME: &'static str = "token.revoke";
    const SCOPE: Option<Scope> = Some(Scope::Admin);
    const CLASS: Class = Class::Write;
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::NotFound(Noun::Token), ErrorKind::Unavailable];
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        let revoked = call.services.tokens.revoke(&params.id).await?;
        Ok(Output { id: params.id, revoked }.into())
    }
}
