//! The proof of a device: an Ed25519 signature over what it asks for.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use model::Timestamp;
use sha2::{Digest, Sha256};

use super::params::{Client, Connect, DeviceParams};
use super::refusal::Refusal;

/// How far the device's clock may be off.
const SKEW_MS: i64 = 600_000;
/// What precedes the raw key in a SubjectPublicKeyInfo of Ed25519.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What the server knows when it checks a proof.
pub struct Circumstances<'a> {
    /// Of this socket's `connect.challenge`.
    pub nonce: &'a str,
    pub now: Timestamp,
    pub is_local: bool,
}

/// Checks the proof; gives the public key in its one canonical form.
pub fn check(connect: &Connect, device: &DeviceParams, around: &Circumstances<'_>) -> Result<String, Box<Refusal>> {
    let refuse = |message: &str, code, reason: &str| Err(Box::new(Refusal::device(message, code, reason)));
    let Some(raw) = public_key(&device.public_key) else {
        return refuse("device public key invalid", "DEVICE_AUTH_PUBLIC_KEY_INVALID", "device-public-key");
    };
    let Ok(key) = VerifyingKey::from_bytes(&raw) else {
        return refuse("device public key invalid", "DEVICE_AUTH_PUBLIC_KEY_INVALID", "device-public-key");
    };
    if device.id != hex::encode(Sha256::digest(raw)) {
        return refuse("device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", "device-id-mismatch");
    }
    if around.now.as_ms().saturating_sub(device.signed_at).saturating_abs() > SKEW_MS {
        return refuse("device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale");
    }
    let nonce = device.nonce.as_deref().filter(|nonce| !nonce.is_empty());
    match nonce {
        None if !around.is_local => {
            return refuse("device nonce required", "DEVICE_AUTH_NONCE_REQUIRED", "device-nonce-missing");
        }
        Some(nonce) if nonce != around.nonce => {
            return refuse("device nonce mismatch", "DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch");
        }
        _ => {}
    }
    let versions: &[Version] = if nonce.is_some() { &[Version::V3, Version::V2] } else { &[Version::V1] };
    let signature = decode(&device.signature).and_then(|bytes| Signature::from_slice(&bytes).ok());
    let holds = signature.is_some_and(|signature| {
        versions
            .iter()
            .any(|version| key.verify_strict(payload(*version, connect, device).as_bytes(), &signature).is_ok())
    });
    if !holds {
        return refuse("device signature invalid", "DEVICE_AUTH_SIGNATURE_INVALID", "device-signature");
    }
    Ok(URL_SAFE_NO_PAD.encode(raw))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
    V3,
}

/// The text that was signed; nothing in it is escaped.
fn payload(version: Version, connect: &Connect, device: &DeviceParams) -> String {
    let Client { id, mode, platform, device_family, .. } = &connect.client;
    let scopes = connect.scopes.as_deref().unwrap_or_default().join(",");
    let head = match version {
        Version::V1 => "v1",
        Version::V2 => "v2",
        Version::V3 => "v3",
    };
    let mut text = [
        head,
        &device.id,
        id,
        mode,
        &connect.role,
        &scopes,
        &device.signed_at.to_string(),
        connect.auth.signed_token(),
    ]
    .join("|");
    if version != Version::V1 {
        text.push('|');
        text.push_str(device.nonce.as_deref().unwrap_or_default());
    }
    if version == Version::V3 {
        let plain = |text: &str| text.trim().to_ascii_lowercase();
        text.push('|');
        text.push_str(&plain(platform));
        text.push('|');
        text.push_str(&plain(device_family.as_deref().unwrap_or_default()));
    }
    text
}

/// The raw key of base64url, base64, or a PEM.
fn public_key(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    if let Some(pem) = text.strip_prefix("-----BEGIN PUBLIC KEY-----") {
        let body: String = pem.split("-----END").next()?.split_whitespace().collect();
        let bytes = decode(&body)?;
        return bytes.strip_prefix(&SPKI_PREFIX)?.try_into().ok();
    }
    decode(text)?.try_into().ok()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).ok().or_else(|| {
        let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
        STANDARD.decode(padded).ok()
    })
}

#[cfg(test)]
mod tests;
