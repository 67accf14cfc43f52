//! `hello-ok`: what a client learns when it is let in.

use model::{Principal, Scope};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use services::devices::DeviceGrant;

use crate::limits::{BUFFERED_BYTES_MAX, FRAME_BYTES_MAX};
use crate::{Argent, events, keys};

/// What fits base64-coded into one frame.
const ATTACHMENT_BYTES_MAX: u64 = 19_464_192;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloOk<'a> {
    /// `hello-ok`
    #[serde(rename = "type")]
    kind: &'static str,
    protocol: i64,
    server: Server<'a>,
    #[schemars(with = "Value")]
    features: &'a RawValue,
    snapshot: Snapshot<'a>,
    auth: Auth<'a>,
    policy: Value,
    /// The newest durable event: the place to resume from when the socket is lost at once.
    resume: Value,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Server<'a> {
    version: &'a str,
    commit: &'a str,
    host: &'a str,
    conn_id: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    presence: Vec<Value>,
    #[schemars(with = "Value")]
    health: &'a RawValue,
    state_version: Value,
    uptime_ms: u64,
    /// For administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_path: Option<String>,
    /// For administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_dir: Option<String>,
    session_defaults: Value,
    auth_mode: &'static str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Auth<'a> {
    role: &'static str,
    scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_at_ms: Option<i64>,
}

/// What differs from client to client.
pub struct Facts<'a> {
    pub protocol: i64,
    pub connection_id: &'a str,
    pub principal: &'a Principal,
    /// Scopes in the dialect's words, as granted.
    pub scopes: &'a [String],
    pub grant: Option<&'a DeviceGrant>,
    pub auth_mode: &'static str,
}

/// The payload, as JSON text.
pub fn encode(argent: &Argent, facts: &Facts<'_>) -> Vec<u8> {
    let services = &argent.services;
    let reads = facts.principal.scopes.contains(Scope::Read);
    let is_admin = facts.principal.scopes.contains(Scope::Admin);
    let presence = if reads { events::presence(argent, &services.presence.entries()) } else { Vec::new() };
    let health = argent.health.snapshot();
    let nothing = RawValue::from_string(String::from("{}")).expect("an empty object is JSON");
    let agent = services.agents.default_agent().id.clone();
    let hello = HelloOk {
        kind: "hello-ok",
        protocol: facts.protocol,
        server: Server {
            version: services.info.version,
            commit: services.info.build,
            host: &services.info.host,
            conn_id: facts.connection_id,
        },
        features: &argent.features,
        snapshot: Snapshot {
            presence,
            health: health.as_ref().map_or(&*nothing, |snapshot| &*snapshot.json),
            state_version: json!({ "presence": services.presence.version(), "health": argent.health.version() }),
            uptime_ms: services.info.uptime_ms(&*services.clock),
            config_path: is_admin.then(|| services.config.source()),
            state_dir: is_admin.then(|| services.info.home.display().to_string()),
            session_defaults: json!({
                "defaultAgentId": agent,
                "mainKey": keys::MAIN,
                "mainSessionKey": model::SessionKey::main(&agent),
                "scope": "per-sender",
            }),
            auth_mode: facts.auth_mode,
        },
        auth: Auth {
            role: crate::scopes::role_word(facts.principal.kind),
            scopes: facts.scopes,
            device_token: facts.grant.map(|grant| grant.secret.expose_secret()),
            issued_at_ms: facts.grant.map(|grant| grant.issued_at.as_ms()),
        },
        policy: json!({
            "maxPayload": FRAME_BYTES_MAX,
            "maxBufferedBytes": BUFFERED_BYTES_MAX,
            "tickIntervalMs": (argent.settings)().tick_ms(),
            "attachments": { "maxBytes": ATTACHMENT_BYTES_MAX, "maxImageBytes": ATTACHMENT_BYTES_MAX },
        }),
        resume: json!({ "cursor": services.bus.newest() }),
    };
    serde_json::to_vec(&hello).expect("a hello is plain JSON")
}
