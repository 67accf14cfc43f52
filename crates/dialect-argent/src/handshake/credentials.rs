//! Which secret was shown, and what it is good for.

use std::sync::Arc;

use model::{OpError, PrincipalKind, Scope, ScopeSet, TokenId};
use services::tokens::TokenIdentity;

use super::params::Connect;
use super::refusal::Refusal;
use crate::Argent;
use crate::door::Door;
use crate::scopes;
use crate::settings::AuthMode;

/// A credential that was accepted.
#[derive(Debug)]
pub enum Credential {
    /// A token or password of the common store.
    Shared(Arc<TokenIdentity>),
    /// A token of this very device and role; its proof is still to be checked.
    Device(Arc<TokenIdentity>),
    /// Nothing is asked of peers on this machine.
    Open,
}

impl Credential {
    /// What it can be good for at most.
    pub fn scopes(&self) -> ScopeSet {
        match self {
            Credential::Shared(identity) | Credential::Device(identity) => identity.scopes,
            Credential::Open => ScopeSet::OPERATOR,
        }
    }

    pub fn token_id(&self) -> Option<TokenId> {
        match self {
            Credential::Shared(identity) | Credential::Device(identity) => Some(identity.id.clone()),
            Credential::Open => None,
        }
    }
}

/// Finds the credential among what was sent.
pub async fn check(
    argent: &Argent,
    connect: &Connect,
    role: PrincipalKind,
    door: &Door,
    mode: AuthMode,
) -> Result<Credential, Box<Refusal>> {
    let is_open = mode == AuthMode::None || !(argent.auth_required)();
    if is_open && door.address.is_loopback() {
        return Ok(Credential::Open);
    }
    let now = argent.services.clock.now();
    if let Err(wait_ms) = argent.attempts.check(door.address, now) {
        let text = "too many failed authentication attempts (retry later)";
        let mut refusal = Refusal::unauthorized(text, "AUTH_RATE_LIMITED", "rate_limited", "wait_then_retry");
        refusal.error = refusal.error.retry(Some(wait_ms));
        refusal.is_failed_attempt = false;
        return Err(Box::new(refusal));
    }
    let auth = &connect.auth;
    let shared = [&auth.token, &auth.password].into_iter().flatten().find_map(|secret| shared(argent, secret, role));
    if let Some(identity) = shared {
        return Ok(Credential::Shared(identity));
    }
    let device_id = connect.device.as_ref().map(|device| device.id.as_str());
    let own = [&auth.token, &auth.device_token]
        .into_iter()
        .flatten()
        .find_map(|secret| own_token(argent, secret, device_id?, role));
    match own {
        Some(identity) => fits(connect, role, identity).map_err(Box::new),
        None => Err(Box::new(refusal(argent, connect, role, mode).await)),
    }
}

fn shared(argent: &Argent, secret: &str, role: PrincipalKind) -> Option<Arc<TokenIdentity>> {
    let identity = argent.services.tokens.authenticate(secret)?;
    let may_play = identity.role == "operator" || identity.role == scopes::role_word(role);
    // A token for the MCP endpoint alone opens nothing else.
    let is_mcp_only = identity.scopes == ScopeSet::EMPTY.with(Scope::Mcp);
    (identity.device_id.is_none() && may_play && !is_mcp_only).then_some(identity)
}

fn own_token(argent: &Argent, secret: &str, device_id: &str, role: PrincipalKind) -> Option<Arc<TokenIdentity>> {
    let identity = argent.services.tokens.authenticate(secret)?;
    let is_own = identity.device_id.as_deref() == Some(device_id) && identity.role == scopes::role_word(role);
    is_own.then_some(identity)
}

/// A device token must cover what is asked.
fn fits(connect: &Connect, role: PrincipalKind, identity: Arc<TokenIdentity>) -> Result<Credential, Refusal> {
    let asked = scopes::expand(connect.scopes.iter().flatten().map(String::as_str));
    if role == PrincipalKind::Operator && !asked.is_subset(identity.scopes) {
        let text = "device token scope mismatch";
        return Err(Refusal::unauthorized(text, "AUTH_SCOPE_MISMATCH", "scope_mismatch", "review_auth_configuration"));
    }
    Ok(Credential::Device(identity))
}

/// Why nothing that was sent will do. Clients search for the words before the bracket.
async fn refusal(argent: &Argent, connect: &Connect, role: PrincipalKind, mode: AuthMode) -> Refusal {
    let auth = &connect.auth;
    let sent_any = auth.token.is_some() || auth.password.is_some() || auth.device_token.is_some();
    if !sent_any && connect.device.is_none() {
        return Refusal::device_required();
    }
    if !argent.services.tokens.any_configured() {
        let text = "gateway token not configured on gateway";
        return Refusal::unauthorized(
            text,
            "AUTH_TOKEN_NOT_CONFIGURED",
            "token_not_configured",
            "review_auth_configuration",
        );
    }
    if mode == AuthMode::Password {
        return if sent_any {
            let text = "gateway password mismatch (provide the gateway password)";
            Refusal::unauthorized(text, "AUTH_PASSWORD_MISMATCH", "password_mismatch", "update_auth_credentials")
        } else {
            let text = "gateway password missing (provide the gateway password)";
            Refusal::unauthorized(text, "AUTH_PASSWORD_MISSING", "password_missing", "update_auth_configuration")
        };
    }
    if !sent_any {
        let text = "gateway token missing (provide the gateway token)";
        return Refusal::unauthorized(text, "AUTH_TOKEN_MISSING", "token_missing", "update_auth_configuration");
    }
    let text = "gateway token mismatch (provide the gateway token)";
    let only_device_token = auth.token.is_none() && auth.password.is_none();
    let mut refusal = if only_device_token {
        Refusal::unauthorized(text, "AUTH_DEVICE_TOKEN_MISMATCH", "device_token_mismatch", "update_auth_credentials")
    } else {
        let next = if connect.device.is_some() && auth.device_token.is_none() {
            "retry_with_device_token"
        } else {
            "update_auth_credentials"
        };
        Refusal::unauthorized(text, "AUTH_TOKEN_MISMATCH", "token_mismatch", next)
    };
    if was_revoked(argent, connect, role).await.unwrap_or(false) {
        refusal.error = refusal.error.with("reason", "token-revoked");
    }
    refusal
}

async fn was_revoked(argent: &Argent, connect: &Connect, role: PrincipalKind) -> Result<bool, OpError> {
    let Some(device) = &connect.device else { return Ok(false) };
    for secret in [&connect.auth.token, &connect.auth.device_token].into_iter().flatten() {
        if argent.services.devices.was_revoked(&device.id, scopes::role_word(role), secret).await? {
            return Ok(true);
        }
    }
    Ok(false)
}
