use ed25519_dalek::{Signer, SigningKey};

use super::super::params::{Auth, Client};
use super::*;

const PUBLIC_KEY: &str = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg";
const ID: &str = "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c";
const SIGNED_AT: i64 = 1_790_000_000_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&std::array::from_fn(|index| u8::try_from(index).unwrap()))
}

fn connect() -> Connect {
    Connect {
        min_protocol: 3,
        max_protocol: 4,
        client: Client {
            id: "cli".into(),
            mode: "cli".into(),
            version: "1".into(),
            platform: "linux".into(),
            ..Client::default()
        },
        role: "operator".into(),
        scopes: Some(vec!["operator.read".into(), "operator.write".into()]),
        wants_tools: false,
        auth: Auth { token: Some("tok-example".into()), ..Auth::default() },
        device: None,
        resume: None,
    }
}

fn device(nonce: Option<&str>, signature: &str) -> DeviceParams {
    DeviceParams {
        id: ID.into(),
        public_key: PUBLIC_KEY.into(),
        signature: signature.into(),
        signed_at: SIGNED_AT,
        nonce: nonce.map(str::to_owned),
    }
}

fn verdict(device: &DeviceParams, is_local: bool) -> Result<String, String> {
    let around = Circumstances { nonce: "n-7c1e", now: Timestamp::from_ms(SIGNED_AT + 1000), is_local };
    check(&connect(), device, &around).map_err(|refusal| refusal.error.message)
}

const V1: &str = "-RTicSYpVDLG4zmbGOMYMgnwhRtDfkvbMuvmlGNZvPpIzFtN9hlaZMdrxyEoPLp8112Kxr5dlIKPzCIfjAPNDw";
const V2: &str = "OFsWyPA2gxh9Up_wvIqqH5hN1KtghN1uCUn7_fRVx4YUKHPQj3ow1IadWVal-MktSYVZXmr-j62Oq31TA-QMAw";
const V3: &str = "5QgCgwzPFtB8jWMPAaXMSuA8CnR3uF3zj-BJgzSDhhwd3zW8sotK1O4XZ9nUaAc9is640CE3_G39orYYViG7Dw";

#[test]
fn the_published_vectors_are_made_and_accepted() {
    let sign = |version, nonce| {
        let text = payload(version, &connect(), &device(nonce, ""));
        URL_SAFE_NO_PAD.encode(key().sign(text.as_bytes()).to_bytes())
    };
    assert_eq!(sign(Version::V1, None), V1);
    assert_eq!(sign(Version::V2, Some("n-7c1e")), V2);
    assert_eq!(sign(Version::V3, Some("n-7c1e")), V3);
    assert_eq!(verdict(&device(None, V1), true).as_deref(), Ok(PUBLIC_KEY));
    assert_eq!(verdict(&device(Some("n-7c1e"), V2), false).as_deref(), Ok(PUBLIC_KEY));
    assert_eq!(verdict(&device(Some("n-7c1e"), V3), false).as_deref(), Ok(PUBLIC_KEY));
}

#[test]
fn each_flaw_is_named_in_the_published_order() {
    let good = device(Some("n-7c1e"), V2);
    let fails = |device: DeviceParams, is_local| verdict(&device, is_local).unwrap_err();
    assert_eq!(fails(DeviceParams { public_key: "xx".into(), ..good.clone() }, true), "device public key invalid");
    assert_eq!(fails(DeviceParams { id: "00".into(), ..good.clone() }, true), "device identity mismatch");
    assert_eq!(
        fails(DeviceParams { signed_at: SIGNED_AT - 600_000, ..good.clone() }, true),
        "device signature expired"
    );
    assert_eq!(fails(device(None, V1), false), "device nonce required");
    assert_eq!(fails(device(Some("other"), V2), true), "device nonce mismatch");
    assert_eq!(fails(device(Some("n-7c1e"), V1), true), "device signature invalid");
    // Without a nonce only the first version counts.
    assert_eq!(fails(device(None, V2), true), "device signature invalid");
    assert_eq!(fails(device(Some("n-7c1e"), "not base64!"), true), "device signature invalid");
}

#[test]
fn keys_are_read_in_three_spellings() {
    let raw = public_key(PUBLIC_KEY).unwrap();
    assert_eq!(public_key(&STANDARD.encode(raw)), Some(raw));
    let der = [&SPKI_PREFIX[..], &raw[..]].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    assert_eq!(public_key(&pem), Some(raw));
    assert_eq!(public_key(""), None);
}
