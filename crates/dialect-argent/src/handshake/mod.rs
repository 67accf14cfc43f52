//! `connect`, step by step: version, role, origin, credentials, device, scopes.
//!
//! Each step either narrows what the connection may do or refuses it; nothing is registered before
//! the last one has passed. Read [`run`] first.

pub mod credentials;
pub mod device;
pub mod hello;
pub mod params;
pub mod refusal;
mod versions;

use std::sync::Arc;

use dialect::Params;
use events::Subscription;
use model::{Cursor, DeviceFacts, PresenceEntry, Principal, PrincipalKind, Scope, ScopeSet};
use serde_json::{Value, json};
use services::devices::{Admission, DeviceGrant, Knock, WaitReason};
use services::presence::PresenceGuard;

use self::credentials::Credential;
use self::params::{Connect, ConnectParams};
use self::refusal::Refusal;
use self::versions::{PROTOCOL_MAX, PROTOCOL_MIN};
use crate::Argent;
use crate::door::Door;
use crate::errors::WireError;
use crate::framing::Form;
use crate::link::Link;
use crate::scopes;
use crate::settings::AuthMode;

/// A connection that is let in.
pub struct Admitted {
    pub principal: Arc<Principal>,
    pub link: Arc<Link>,
    /// The payload of `hello-ok`.
    pub hello: Vec<u8>,
    pub subscription: Subscription,
    pub presence: Option<PresenceGuard>,
}

/// What is known before the client has said anything.
pub struct Before {
    pub door: Door,
    pub nonce: String,
    pub connection_id: String,
}

/// Runs the handshake.
pub async fn run(argent: Arc<Argent>, before: Before, form: Form, raw: Params) -> Result<Admitted, Box<Refusal>> {
    let result = admit(&argent, &before, form, raw).await;
    if result.as_ref().is_err_and(|refusal| refusal.is_failed_attempt) {
        argent.attempts.failed(before.door.address, argent.services.clock.now());
    }
    result
}

async fn admit(argent: &Arc<Argent>, before: &Before, form: Form, raw: Params) -> Result<Admitted, Box<Refusal>> {
    let invalid = |error| Box::new(Refusal::new(WireError::of("connect", &error)));
    let sent: ConnectParams = dialect::params::parse(raw.as_deref()).map_err(invalid)?;
    let connect = sent.check(form).map_err(invalid)?;
    if argent.services.lifecycle.is_draining() {
        return Err(Box::new(Refusal::stopping()));
    }
    if connect.min_protocol > PROTOCOL_MAX
        || connect.max_protocol < PROTOCOL_MIN
        || connect.min_protocol > connect.max_protocol
    {
        return Err(Box::new(Refusal::protocol_mismatch(connect.min_protocol, connect.max_protocol)));
    }
    let role = role(&connect.role).ok_or_else(|| Box::new(Refusal::plain("invalid role")))?;
    let settings = (argent.settings)();
    check_page(&connect, &before.door, settings.control_ui.allow_insecure_auth)?;
    let mode = settings.mode();
    let credential = credentials::check(argent, &connect, role, &before.door, mode).await?;
    let (granted, words) = grant(&connect, role, &credential);
    let device = pair(argent, before, &connect, role, granted).await?;
    if role == PrincipalKind::Device && device.is_none() {
        return Err(Box::new(Refusal::device_required()));
    }
    let principal = Arc::new(Principal {
        kind: role,
        id: Arc::from(connect.device.as_ref().map_or(connect.client.id.as_str(), |device| &device.id)),
        scopes: granted,
        token_id: credential.token_id(),
        confined_to: None,
    });
    Ok(register(argent, before, &connect, principal, &words, device.as_ref(), mode_word(mode)))
}

fn role(text: &str) -> Option<PrincipalKind> {
    match text {
        "operator" => Some(PrincipalKind::Operator),
        "node" => Some(PrincipalKind::Node),
        "device" => Some(PrincipalKind::Device),
        _ => None,
    }
}

const fn mode_word(mode: AuthMode) -> &'static str {
    match mode {
        AuthMode::Token => "token",
        AuthMode::Password => "password",
        AuthMode::None => "none",
    }
}

/// Pages must come from an origin that may connect; control pages must be devices besides.
fn check_page(connect: &Connect, door: &Door, allows_insecure: bool) -> Result<(), Box<Refusal>> {
    let client = &connect.client;
    if !door.origin_allowed || (client.is_web() && !door.has_origin) {
        let message = "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)";
        return Err(Box::new(Refusal::control_ui(message, "CONTROL_UI_ORIGIN_NOT_ALLOWED")));
    }
    let sent_secret = connect.auth.token.is_some() || connect.auth.password.is_some();
    if client.is_control_ui() && connect.device.is_none() && !(allows_insecure && sent_secret) {
        let message = "control ui requires HTTPS or localhost (secure context)";
        return Err(Box::new(Refusal::control_ui(message, "CONTROL_UI_DEVICE_IDENTITY_REQUIRED")));
    }
    Ok(())
}

/// What of the asked scopes the credential covers, as a set and in the client's words.
fn grant(connect: &Connect, role: PrincipalKind, credential: &Credential) -> (ScopeSet, Vec<String>) {
    let held = credential.scopes();
    let asked: Vec<String> = match (&connect.scopes, role) {
        (_, PrincipalKind::Node | PrincipalKind::Guest) => Vec::new(),
        // By word, before they are read: admin is none of a device's words and brings it nothing.
        (Some(asked), PrincipalKind::Device) => asked
            .iter()
            .filter(|asked| scopes::DEVICE_MAX.map(scopes::word).contains(&asked.as_str()))
            .cloned()
            .collect(),
        (Some(asked), PrincipalKind::Operator) => asked.clone(),
        (None, PrincipalKind::Device) => {
            vec![scopes::word(Scope::Read).to_owned(), scopes::word(Scope::Write).to_owned()]
        }
        (None, PrincipalKind::Operator) => match credential {
            Credential::Device(_) => scopes::words(held),
            Credential::Shared(_) | Credential::Open => vec![scopes::word(Scope::Admin).to_owned()],
        },
    };
    let wanted = scopes::expand(asked.iter().map(String::as_str));
    let granted = wanted.intersection(held);
    // What was asked for is said back as it was written, unknown words included, when all of it is granted.
    let words = if granted == wanted { asked } else { scopes::words(granted) };
    (granted, words)
}

/// Checks the device's proof and lets it in, or files its request.
async fn pair(
    argent: &Argent,
    before: &Before,
    connect: &Connect,
    role: PrincipalKind,
    granted: ScopeSet,
) -> Result<Option<DeviceGrant>, Box<Refusal>> {
    let Some(device) = &connect.device else { return Ok(None) };
    let around = device::Circumstances {
        nonce: &before.nonce,
        now: argent.services.clock.now(),
        is_local: before.door.is_local,
    };
    let public_key = device::check(connect, device, &around)?;
    let client = &connect.client;
    let knock = Knock {
        device: DeviceFacts {
            device_id: device.id.clone(),
            public_key,
            display_name: client.display_name.clone(),
            platform: Some(client.platform.clone()),
            device_family: client.device_family.clone(),
            client_id: Some(client.id.clone()),
            client_mode: Some(client.mode.clone()),
            remote_ip: Some(before.door.address.to_string()),
        },
        role: scopes::role_word(role).to_owned(),
        scopes: granted,
        is_local: before.door.is_local,
    };
    let admission = argent.services.devices.admit(knock).await;
    match admission.map_err(|error| Box::new(Refusal::new(WireError::of("connect", &error))))? {
        Admission::Admitted(grant) => Ok(Some(grant)),
        Admission::Waiting { request, reason, approved_roles, approved_scopes } => {
            let (word, requirement) = match reason {
                WaitReason::NotPaired => ("not-paired", "device is not approved yet"),
                WaitReason::RoleUpgrade => {
                    ("role-upgrade", "device is asking for a higher role than currently approved")
                }
                WaitReason::ScopeUpgrade => {
                    ("scope-upgrade", "device is asking for more scopes than currently approved")
                }
            };
            let mut details = json!({
                "reason": word,
                "remediationHint": refusal::remedy(&request.request_id),
                "deviceId": request.device.device_id,
                "requestedRole": request.role,
                "requestedScopes": scopes::words(request.scopes),
            });
            if reason != WaitReason::NotPaired {
                details["approvedRoles"] = json!(approved_roles);
                details["approvedScopes"] = json!(scopes::words(approved_scopes));
            }
            Err(Box::new(Refusal::pairing(requirement, &request.request_id, details)))
        }
    }
}

/// Enters the connection everywhere and says hello.
fn register(
    argent: &Arc<Argent>,
    before: &Before,
    connect: &Connect,
    principal: Arc<Principal>,
    words: &[String],
    grant: Option<&DeviceGrant>,
    auth_mode: &'static str,
) -> Admitted {
    let subscription = argent.services.bus.subscribe(connect.resume.map(Cursor));
    let is_shown = connect.client.is_shown();
    let presence =
        is_shown.then(|| argent.services.presence.enter(presence_entry(before, connect, &principal, words, argent)));
    let facts = hello::Facts {
        protocol: PROTOCOL_MAX.min(connect.max_protocol),
        connection_id: &before.connection_id,
        principal: &principal,
        scopes: words,
        grant,
        auth_mode,
    };
    let hello = hello::encode(argent, &facts);
    let device_id = connect.device.as_ref().map(|device| device.id.as_str());
    let link = Link::new(Arc::clone(argent), &before.connection_id, connect.wants_tools, device_id);
    argent.health.nudge();
    Admitted { principal, link: Arc::new(link), hello, subscription, presence }
}

fn presence_entry(
    before: &Before,
    connect: &Connect,
    principal: &Principal,
    words: &[String],
    argent: &Argent,
) -> PresenceEntry {
    let client = &connect.client;
    let device_id = connect.device.as_ref().map(|device| device.id.clone());
    let key = device_id.as_ref().or(client.instance_id.as_ref()).unwrap_or(&before.connection_id).to_lowercase();
    let host = client.display_name.clone().unwrap_or_else(|| client.id.clone());
    let role = scopes::role_word(principal.kind);
    let text = format!(
        "{}: {host} ({}) · app {} · mode {} · reason connect",
        if role == "node" { "Node" } else { "Client" },
        before.door.address,
        client.version,
        client.mode
    );
    PresenceEntry {
        key,
        host: Some(host),
        ip: Some(before.door.address.to_string()),
        version: Some(client.version.clone()),
        platform: Some(client.platform.clone()),
        device_family: client.device_family.clone(),
        model_identifier: client.model_identifier.clone(),
        mode: Some(client.mode.clone()),
        reason: Some(String::from("connect")),
        text,
        at: argent.services.clock.now(),
        device_id,
        instance_id: client.instance_id.clone(),
        roles: vec![role.to_owned()],
        scopes: words.to_vec(),
    }
}

/// Puts `connect` into the contract, which the table does not hold: it is not a call like others.
pub fn describe(document: &mut Value) {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.inline_subschemas = true;
        })
        .into_generator();
    let params: Value = generator.root_schema_for::<ConnectParams>().into();
    let result: Value = generator.root_schema_for::<hello::HelloOk<'static>>().into();
    let listed: Vec<Value> = params["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| json!({ "name": name, "required": false, "schema": schema }))
        .collect();
    let method = json!({
        "name": "connect",
        "summary": "Introduce yourself: version, role, scopes and secret. The first frame of a connection.",
        "description": "Introduce yourself: version, role, scopes and secret. The first frame of a connection, and valid only as that.",
        "paramStructure": "by-name",
        "params": listed,
        "result": { "name": "result", "schema": result },
        "errors": [
            { "code": crate::errors::INVALID_PARAMS, "message": "a parameter is missing, of the wrong type or out of its bounds" },
            { "code": crate::errors::INVALID_REQUEST, "message": "the protocol versions do not meet, or the role is unknown" },
            { "code": crate::errors::AUTH_FAILED, "message": "the credentials, the device or its pairing do not hold" },
        ],
        "x-scope": null,
    });
    if let Some(methods) = document["methods"].as_array_mut() {
        methods.push(method);
        methods.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    }
}
