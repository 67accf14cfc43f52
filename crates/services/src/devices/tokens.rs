//! Tokens of devices: one for each role, derived from a generation number.

use model::{Event, OpError, ScopeSet, Secret, Timestamp, TokenId};
use ring::hmac;
use store::{TokenRecord, Tx};

use super::admission::DeviceGrant;
use super::record::{DeviceToken, PairedDevice};
use crate::tokens::hash_text;

/// A token's last use is written down at most this often.
pub(super) const LAST_USED_MS: u64 = 60_000;

/// Tokens that a unit of work made and revoked, to be known from its commit on.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub made: Vec<TokenRecord>,
    pub revoked: Vec<TokenId>,
}

/// 32 lower-case hex digits.
pub(super) fn secret(key: &hmac::Key, device_id: &str, role: &str, generation: u64) -> Secret {
    let tag = hmac::sign(key, format!("{device_id}|{role}|{generation}").as_bytes());
    Secret::new(hex::encode(&tag.as_ref()[..16]))
}

pub(super) fn grant(key: &hmac::Key, device_id: &str, token: &DeviceToken) -> DeviceGrant {
    DeviceGrant {
        secret: secret(key, device_id, &token.role, token.generation),
        token_id: token.token_id.clone(),
        role: token.role.clone(),
        scopes: token.scopes,
        issued_at: token.rotated_at.unwrap_or(token.created_at),
    }
}

/// Leaves the device with a valid token of the role that covers `scopes`.
pub(super) fn ensure(
    tx: &dyn Tx,
    key: &hmac::Key,
    device: &mut PairedDevice,
    role: &str,
    scopes: ScopeSet,
    token_id: TokenId,
    now: Timestamp,
) -> Result<Written, OpError> {
    let fits = |token: &DeviceToken| token.role == role && token.revoked_at.is_none() && scopes.is_subset(token.scopes);
    let mut written = Written::default();
    if !device.tokens.iter().any(fits) {
        written = replace(tx, key, device, role, scopes, token_id, now)?;
    }
    if let Some(token) = device.tokens.iter_mut().find(|token| token.role == role)
        && token.last_used_at.is_none_or(|at| now.ms_since(at) >= LAST_USED_MS)
    {
        token.last_used_at = Some(now);
    }
    Ok(written)
}

/// Gives the device a new token of the role; the former one is revoked.
pub(super) fn replace(
    tx: &dyn Tx,
    key: &hmac::Key,
    device: &mut PairedDevice,
    role: &str,
    scopes: ScopeSet,
    token_id: TokenId,
    now: Timestamp,
) -> Result<Written, OpError> {
    let device_id = device.device.device_id.clone();
    let former = device.tokens.iter().position(|token| token.role == role).map(|index| device.tokens.remove(index));
    let generation = former.as_ref().map_or(0, |token| token.generation + 1);
    let mut written = Written::default();
    if let Some(former) = former.as_ref().filter(|token| token.revoked_at.is_none()) {
        revoke_row(tx, &former.token_id, now)?;
        written.revoked.push(former.token_id.clone());
    }
    let secret = secret(key, &device_id, role, generation);
    let record = TokenRecord {
        id: token_id.clone(),
        name: device.device.display_name.clone().unwrap_or_else(|| device_id.chars().take(12).collect()),
        hash: hash_text(secret.expose_secret()),
        scopes,
        role: role.to_owned(),
        device_id: Some(device_id),
        parent: None,
        created_at: now,
        expires_at: None,
        revoked_at: None,
    };
    tx.tokens_mut().put(&record)?;
    written.made.push(record);
    device.tokens.push(DeviceToken {
        role: role.to_owned(),
        scopes,
        token_id,
        generation,
        created_at: former.as_ref().map_or(now, |token| token.created_at),
        rotated_at: former.map(|_| now),
        revoked_at: None,
        last_used_at: None,
    });
    Ok(written)
}

pub(super) fn revoke_row(tx: &dyn Tx, id: &TokenId, now: Timestamp) -> Result<(), OpError> {
    if let Some(record) = tx.tokens().get(id)?.filter(|record| record.revoked_at.is_none()) {
        tx.tokens_mut().put(&TokenRecord { revoked_at: Some(now), ..record })?;
        tx.events_mut().append(now, &Event::TokenRevoked { token_id: id.clone() })?;
    }
    Ok(())
}
