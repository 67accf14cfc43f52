//! Devices that ask to be let in.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::principal::ScopeSet;

/// How long a request waits for an answer.
pub const PAIR_REQUEST_TTL_MS: u64 = 300_000;

/// A device's wish to connect in a role with some scopes, waiting for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairRequest {
    pub request_id: String,
    pub device: DeviceFacts,
    /// The role asked for last; `roles` holds all that were asked for while the request was open.
    pub role: String,
    pub roles: Vec<String>,
    pub scopes: ScopeSet,
    /// The device is on this machine and was let in without asking anybody.
    pub silent: bool,
    /// The device was paired before.
    pub is_repair: bool,
    pub at: Timestamp,
}

/// What a device tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceFacts {
    /// Lower-case hex SHA-256 of the raw public key.
    pub device_id: String,
    /// Base64url of the raw 32 bytes, without padding.
    pub public_key: String,
    pub display_name: Option<String>,
    pub platform: Option<String>,
    pub device_family: Option<String>,
    pub client_id: Option<String>,
    pub client_mode: Option<String>,
    pub remote_ip: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairState {
    Requested,
    Approved,
    Rejected,
}
