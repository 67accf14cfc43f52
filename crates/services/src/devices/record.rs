//! Paired devices as they are kept.

use model::{DeviceFacts, OpError, ScopeSet, Timestamp, TokenId};
use serde::{Deserialize, Serialize};
use store::{Document, Snapshot, Tx};

pub(super) const KIND: &str = "device";

/// Devices kept in each state.
pub const DEVICES_MAX: usize = 1000;

/// A device that an operator let in, or that is on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedDevice {
    pub device: DeviceFacts,
    /// In the order in which they were approved.
    pub roles: Vec<String>,
    pub scopes: ScopeSet,
    pub created_at: Timestamp,
    pub approved_at: Timestamp,
    /// At most one for each role.
    pub tokens: Vec<DeviceToken>,
}

/// The token of a device in one role; its value is derived, never stored.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceToken {
    pub role: String,
    pub scopes: ScopeSet,
    pub token_id: TokenId,
    /// Grows with each new token of the role.
    pub generation: u64,
    pub created_at: Timestamp,
    pub rotated_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

impl PairedDevice {
    /// Whether the device may come in as it stands: same key, an approved role, approved scopes.
    pub(super) fn allows(&self, device: &DeviceFacts, role: &str, scopes: ScopeSet) -> bool {
        self.device.public_key == device.public_key && self.has_role(role) && scopes.is_subset(self.scopes)
    }

    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|known| known == role)
    }

    pub fn token(&self, role: &str) -> Option<&DeviceToken> {
        self.tokens.iter().find(|token| token.role == role)
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    device: DeviceFacts,
    roles: Vec<String>,
    scopes: String,
    created_at: Timestamp,
    approved_at: Timestamp,
    #[serde(default)]
    tokens: Vec<StoredToken>,
}

#[derive(Serialize, Deserialize)]
struct StoredToken {
    role: String,
    scopes: String,
    token_id: TokenId,
    generation: u64,
    created_at: Timestamp,
    rotated_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

impl From<StoredToken> for DeviceToken {
    fn from(stored: StoredToken) -> Self {
        let StoredToken { role, scopes, token_id, generation, created_at, rotated_at, revoked_at, last_used_at } =
            stored;
        let scopes = ScopeSet::from_text(&scopes);
        Self { role, scopes, token_id, generation, created_at, rotated_at, revoked_at, last_used_at }
    }
}

impl From<&DeviceToken> for StoredToken {
    fn from(token: &DeviceToken) -> Self {
        let DeviceToken { role, scopes, token_id, generation, created_at, rotated_at, revoked_at, last_used_at } =
            token.clone();
        Self { role, scopes: scopes.to_text(), token_id, generation, created_at, rotated_at, revoked_at, last_used_at }
    }
}

pub(super) fn get(snapshot: &dyn Snapshot, id: &str) -> Result<Option<PairedDevice>, OpError> {
    snapshot.documents().get(KIND, id)?.map(read).transpose()
}

pub(super) fn all(snapshot: &dyn Snapshot) -> Result<Vec<PairedDevice>, OpError> {
    snapshot.documents().list(KIND)?.into_iter().map(read).collect()
}

pub(super) fn put(tx: &dyn Tx, device: &PairedDevice, now: Timestamp) -> Result<(), OpError> {
    let stored = Stored {
        device: device.device.clone(),
        roles: device.roles.clone(),
        scopes: device.scopes.to_text(),
        created_at: device.created_at,
        approved_at: device.approved_at,
        tokens: device.tokens.iter().map(StoredToken::from).collect(),
    };
    let body = serde_json::to_value(stored).map_err(OpError::internal)?;
    tx.documents_mut().put(KIND, &Document { id: device.device.device_id.clone(), body, updated_at: now })?;
    Ok(())
}

/// Refuses to grow without bound: a device more than the gateway keeps is not paired.
pub(super) fn check_room(tx: &dyn Tx) -> Result<(), OpError> {
    if tx.documents().list(KIND)?.len() >= DEVICES_MAX {
        return Err(OpError::conflict(format!("{DEVICES_MAX} devices are paired already; remove one first")));
    }
    Ok(())
}

fn read(document: Document) -> Result<PairedDevice, OpError> {
    let stored: Stored = serde_json::from_value(document.body).map_err(OpError::internal)?;
    Ok(PairedDevice {
        device: stored.device,
        roles: stored.roles,
        scopes: ScopeSet::from_text(&stored.scopes),
        created_at: stored.created_at,
        approved_at: stored.approved_at,
        tokens: stored.tokens.into_iter().map(DeviceToken::from).collect(),
    })
}
