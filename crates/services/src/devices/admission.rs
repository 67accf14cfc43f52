//! A device at the door, and what becomes of it.

use model::{DeviceFacts, PairRequest, ScopeSet, Secret, Timestamp, TokenId};

/// A device that stands at the door, its signature checked.
#[derive(Debug, Clone)]
pub struct Knock {
    pub device: DeviceFacts,
    pub role: String,
    /// What it asks for.
    pub scopes: ScopeSet,
    /// It is on this machine: let in without asking anybody.
    pub is_local: bool,
}

/// Why a device has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    NotPaired,
    /// Paired, but not in this role.
    RoleUpgrade,
    /// Paired, but with fewer scopes.
    ScopeUpgrade,
}

#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one is made for each connect and taken apart at once")]
pub enum Admission {
    Admitted(DeviceGrant),
    /// An operator has to answer first.
    Waiting {
        request: PairRequest,
        reason: WaitReason,
        approved_roles: Vec<String>,
        approved_scopes: ScopeSet,
    },
}

/// The credential of an admitted device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceGrant {
    pub secret: Secret,
    pub token_id: TokenId,
    pub role: String,
    /// The scopes of the token, at least those asked for.
    pub scopes: ScopeSet,
    pub issued_at: Timestamp,
}
