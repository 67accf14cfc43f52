//! Devices: proofs, pairing, tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dialect_argent::ArgentSettings;
use ed25519_dalek::{Signer, SigningKey};
use model::Scope;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::{START_MS, TestGateway};

use crate::rig::{Client, Settings, gateway, warmed};

struct Device {
    key: SigningKey,
    role: &'static str,
    scopes: Vec<&'static str>,
}

impl Device {
    fn new(seed: u8) -> Self {
        Self {
            key: SigningKey::from_bytes(&[seed; 32]),
            role: "operator",
            scopes: vec!["operator.read", "operator.write"],
        }
    }

    fn id(&self) -> String {
        hex::encode(Sha256::digest(self.key.verifying_key().as_bytes()))
    }

    /// The parameters of `connect` with a proof over them.
    fn hello(&self, nonce: &str, token: &str) -> Value {
        let payload =
            format!("v2|{}|cli|cli|{}|{}|{START_MS}|{token}|{nonce}", self.id(), self.role, self.scopes.join(","));
        json!({
            "minProtocol": 3, "maxProtocol": 4,
            "client": { "id": "cli", "mode": "cli", "version": "1", "platform": "linux" },
            "role": self.role,
            "scopes": self.scopes,
            "auth": { "token": token },
            "device": {
                "id": self.id(),
                "publicKey": URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes()),
                "signature": URL_SAFE_NO_PAD.encode(self.key.sign(payload.as_bytes()).to_bytes()),
                "signedAt": START_MS,
                "nonce": nonce,
            },
        })
    }
}

/// A peer that is not local: it names a proxy that nobody trusts.
const REMOTE: [(&str, &str); 1] = [("x-forwarded-for", "203.0.113.9")];

async fn knock(
    gateway: &TestGateway,
    device: &Device,
    token: &str,
    headers: &[(&str, &str)],
) -> (Client, Result<Value, Value>) {
    let mut client = Client::open(gateway, headers).await;
    let hello = device.hello(&client.nonce, token);
    let answer = client.call("connect", hello).await;
    (client, answer)
}

#[tokio::test]
async fn a_local_device_gets_a_token_that_lets_it_in_alone() {
    let gateway = gateway().await;
    let device = Device::new(1);
    let (_, hello) = knock(&gateway, &device, gateway.admin(), &[]).await;
    let hello = hello.unwrap();
    let token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 32);
    assert_eq!(hello["auth"]["scopes"], json!(["operator.read", "operator.write"]));

    let (_, again) = knock(&gateway, &device, &token, &[]).await;
    assert_eq!(again.unwrap()["auth"]["deviceToken"], token);
    // The token alone, or of another device, is nothing.
    let (_, other) = knock(&gateway, &Device::new(2), &token, &[]).await;
    assert_eq!(other.unwrap_err()["details"]["code"], "AUTH_TOKEN_MISMATCH");
    let mut bare = Client::open(&gateway, &[]).await;
    let refused = bare.call("connect", crate::rig::hello(&token)).await.unwrap_err();
    assert_eq!(refused["message"], "unauthorized: gateway token mismatch (provide the gateway token)");
    // It is good for what it was made for.
    let greedy = Device { scopes: vec!["operator.admin"], ..Device::new(1) };
    let (_, refused) = knock(&gateway, &greedy, &token, &[]).await;
    assert_eq!(refused.unwrap_err()["details"]["code"], "AUTH_SCOPE_MISMATCH");
    gateway.stop().await;
}

#[tokio::test]
async fn a_remote_device_waits_until_an_operator_approves_it() {
    let gateway = gateway().await;
    let mut operator = Client::operator(&gateway).await;
    let device = Device::new(1);
    let (mut client, refused) = knock(&gateway, &device, gateway.admin(), &REMOTE).await;
    let refused = refused.unwrap_err();
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!("NOT_PAIRED"), &json!("pairing required: device is not approved yet"))
    );
    assert_eq!(refused["details"]["reason"], "not-paired");
    assert_eq!(client.ws.closed().await, 1008);
    let request = operator.event("device.pair.requested").await["payload"]["requestId"].clone();
    assert_eq!(refused["details"]["requestId"], request);

    let pending = operator.call("device.pair.list", json!({})).await.unwrap();
    assert_eq!(pending["pending"][0]["deviceId"], device.id());
    operator.call("device.pair.approve", json!({ "requestId": request })).await.unwrap();
    assert_eq!(operator.event("device.pair.resolved").await["payload"]["decision"], "approved");
    let (_, hello) = knock(&gateway, &device, gateway.admin(), &REMOTE).await;
    assert_eq!(hello.unwrap()["auth"]["role"], "operator");

    let greedy = Device { scopes: vec!["operator.admin"], ..Device::new(1) };
    let (_, refused) = knock(&gateway, &greedy, gateway.admin(), &REMOTE).await;
    assert_eq!(refused.unwrap_err()["details"]["reason"], "scope-upgrade");
    gateway.stop().await;
}

#[tokio::test]
async fn nobody_approves_more_than_they_hold() {
    let gateway = gateway().await;
    let greedy = Device { scopes: vec!["operator.admin"], ..Device::new(1) };
    let (_, refused) = knock(&gateway, &greedy, gateway.admin(), &REMOTE).await;
    let request = refused.unwrap_err()["details"]["requestId"].clone();
    let mut clerk = Client::with(&gateway, &[Scope::Pairing, Scope::Read]).await;
    let error = clerk.call("device.pair.approve", json!({ "requestId": request })).await.unwrap_err();
    assert_eq!(error["details"]["code"], "MISSING_SCOPE");
    gateway.stop().await;
}

#[tokio::test]
async fn the_connections_of_a_revoked_device_token_are_closed() {
    let gateway = gateway().await;
    let device = Device::new(1);
    let (_, hello) = knock(&gateway, &device, gateway.admin(), &[]).await;
    let token = hello.unwrap()["auth"]["deviceToken"].as_str().unwrap().to_owned();
    let (mut client, hello) = knock(&gateway, &device, &token, &[]).await;
    hello.unwrap();
    let mut operator = Client::operator(&gateway).await;
    operator.call("device.token.revoke", json!({ "deviceId": device.id(), "role": "operator" })).await.unwrap();
    assert_eq!(client.ws.closed().await, 4001);
    let (_, refused) = knock(&gateway, &device, &token, &[]).await;
    assert_eq!(refused.unwrap_err()["details"]["reason"], "token-revoked");
    // With the shared secret it gets a new one.
    let (_, hello) = knock(&gateway, &device, gateway.admin(), &[]).await;
    assert_ne!(hello.unwrap()["auth"]["deviceToken"], token);
    gateway.stop().await;
}

#[tokio::test]
async fn a_device_rotates_its_own_token_and_no_other() {
    let gateway = gateway().await;
    let other = Device::new(2);
    knock(&gateway, &other, gateway.admin(), &[]).await.1.unwrap();
    let device = Device { scopes: vec!["operator.pairing"], ..Device::new(1) };
    let (mut client, hello) = knock(&gateway, &device, gateway.admin(), &[]).await;
    let token = hello.unwrap()["auth"]["deviceToken"].clone();
    let rotated =
        client.call("device.token.rotate", json!({ "deviceId": device.id(), "role": "operator" })).await.unwrap();
    assert_ne!(rotated["token"], token);
    let error =
        client.call("device.token.rotate", json!({ "deviceId": other.id(), "role": "operator" })).await.unwrap_err();
    assert_eq!(error["message"], "missing scope: operator.admin");
    let wider = json!({ "deviceId": device.id(), "role": "operator", "scopes": ["operator.write"] });
    let error = client.call("device.token.rotate", wider).await.unwrap_err();
    assert_eq!(error["details"]["code"], "MISSING_SCOPE");
    gateway.stop().await;
}

#[tokio::test]
async fn false_proofs_are_refused_and_lock_remote_addresses_out() {
    let settings = ArgentSettings { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..ArgentSettings::default() };
    let gateway = warmed(Settings { argent: settings, ..Settings::default() }.builder().start().await).await;
    for _ in 0..11 {
        let mut client = Client::open(&gateway, &REMOTE).await;
        let hello = Device::new(1).hello("another nonce", gateway.admin());
        let error = client.call("connect", hello).await.unwrap_err();
        assert_eq!(error["details"]["code"], "DEVICE_AUTH_NONCE_MISMATCH");
    }
    let (_, locked) = knock(&gateway, &Device::new(1), gateway.admin(), &REMOTE).await;
    let locked = locked.unwrap_err();
    assert_eq!((&locked["details"]["code"], &locked["retryable"]), (&json!("AUTH_RATE_LIMITED"), &json!(true)));
    // Others are not.
    let (_, other) = knock(&gateway, &Device::new(1), gateway.admin(), &[("x-forwarded-for", "127.0.0.1")]).await;
    other.unwrap();
    gateway.stop().await;
}

#[tokio::test]
async fn the_role_device_needs_a_device_and_is_bounded() {
    let gateway = gateway().await;
    let mut bare = Client::open(&gateway, &[]).await;
    let mut params = crate::rig::hello(gateway.admin());
    params["role"] = json!("device");
    let error = bare.call("connect", params).await.unwrap_err();
    assert_eq!(error["details"]["code"], "DEVICE_IDENTITY_REQUIRED");
    // Of what it asks for, read, write and approvals; admin is not cut down to them.
    let table: [(&[&'static str], Value); 4] = [
        (&["operator.admin", "operator.read"], json!(["operator.read"])),
        (&["operator.admin"], json!([])),
        (&["operator.approvals", "operator.pairing"], json!(["operator.approvals"])),
        (&["operator.write", "tea"], json!(["operator.write"])),
    ];
    for (seed, (asked, granted)) in (1..).zip(table) {
        let greedy = Device { role: "device", scopes: asked.to_vec(), ..Device::new(seed) };
        let (_, hello) = knock(&gateway, &greedy, gateway.admin(), &[]).await;
        assert_eq!(hello.unwrap()["auth"]["scopes"], granted, "{asked:?}");
    }
    gateway.stop().await;
}
