//! A throw-away device identity for gateways that want a signed connect.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub struct Device {
    key: SigningKey,
    id: String,
}

/// The fields that the signature covers besides the device itself.
pub struct Claim<'a> {
    pub client_id: &'a str,
    pub client_mode: &'a str,
    pub role: &'a str,
    pub scopes: &'a [&'a str],
    pub token: &'a str,
    pub nonce: &'a str,
    pub signed_at_ms: u64,
}

impl Device {
    /// The same seed always gives the same device.
    pub fn from_seed(seed: u64) -> Device {
        let digest = Sha256::digest(seed.to_be_bytes());
        let key = SigningKey::from_bytes(&digest.into());
        let id = Sha256::digest(key.verifying_key().as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        Device { key, id }
    }

    /// The `device` member of connect parameters (payload version 2).
    pub fn sign(&self, claim: &Claim) -> Value {
        let payload = format!(
            "v2|{}|{}|{}|{}|{}|{}|{}|{}",
            self.id,
            claim.client_id,
            claim.client_mode,
            claim.role,
            claim.scopes.join(","),
            claim.signed_at_ms,
            claim.token,
            claim.nonce,
        );
        let signature = self.key.sign(payload.as_bytes());
        json!({
            "id": self.id,
            "publicKey": URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes()),
            "signature": URL_SAFE_NO_PAD.encode(signature.to_bytes()),
            "signedAt": claim.signed_at_ms,
            "nonce": claim.nonce,
        })
    }
}
