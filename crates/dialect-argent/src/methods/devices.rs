//! `device.pair.*`, `device.token.*`.

use model::{ErrorKind, Noun, OpError, Scope};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use services::devices::PairedDevice;

use super::NoParams;
use crate::events::{pair_request, put};
use crate::link::link;
use crate::scopes;

/// List open pairing requests, newest first, and paired devices, newest approval first.
#[derive(JsonSchema)]
pub struct DevicePairList;

#[derive(Debug, Serialize, JsonSchema)]
pub struct ListOutput {
    pending: Vec<Value>,
    paired: Vec<Value>,
}

pub async fn list(call: Call, _: NoParams) -> Result<Reply<ListOutput>, OpError> {
    let (pending, paired) = call.services.devices.list().await?;
    Ok(ListOutput { pending: pending.iter().map(pair_request).collect(), paired: paired.iter().map(view).collect() }
        .into())
}

fn view(paired: &PairedDevice) -> Value {
    let device = &paired.device;
    let tokens: Vec<Value> = paired
        .tokens
        .iter()
        .map(|token| {
            let mut json = json!({ "role": token.role, "scopes": scopes::words(token.scopes), "createdAtMs": token.created_at.as_ms() });
            for (name, at) in
                [("rotatedAtMs", token.rotated_at), ("revokedAtMs", token.revoked_at), ("lastUsedAtMs", token.last_used_at)]
            {
                if let Some(at) = at {
                    json[name] = json!(at.as_ms());
                }
            }
            json
        })
        .collect();
    let mut json = json!({
        "deviceId": device.device_id,
        "publicKey": device.public_key,
        "roles": paired.roles,
        "scopes": scopes::words(paired.scopes),
        "createdAtMs": paired.created_at.as_ms(),
        "approvedAtMs": paired.approved_at.as_ms(),
        "tokens": tokens,
    });
    put(&mut json, "role", paired.roles.first().map(String::as_str));
    put(&mut json, "displayName", device.display_name.as_deref());
    put(&mut json, "platform", device.platform.as_deref());
    put(&mut json, "deviceFamily", device.device_family.as_deref());
    put(&mut json, "clientId", device.client_id.as_deref());
    put(&mut json, "clientMode", device.client_mode.as_deref());
    put(&mut json, "remoteIp", device.remote_ip.as_deref());
    json
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestParams {
    request_id: String,
}

/// Let the device of a request in. Its token of the requested role is replaced.
///
/// Without `operator.admin` only the role operator and scopes of the caller's own can be approved.
#[derive(JsonSchema)]
pub struct DevicePairApprove;

pub const APPROVE_ERRORS: &[ErrorKind] = &[ErrorKind::NotFound(Noun::Device), ErrorKind::Denied, ErrorKind::Conflict];

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApproveOutput {
    request_id: String,
    device: Value,
}

pub async fn approve(call: Call, params: RequestParams) -> Result<Reply<ApproveOutput>, OpError> {
    let device = call.services.devices.approve(&call.principal, &params.request_id).await?;
    Ok(ApproveOutput { request_id: params.request_id, device: view(&device) }.into())
}

/// Turn a request down.
#[derive(JsonSchema)]
pub struct DevicePairReject;

pub const REJECT_ERRORS: &[ErrorKind] = &[ErrorKind::NotFound(Noun::Device)];

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectOutput {
    request_id: String,
    device_id: String,
}

pub async fn reject(call: Call, params: RequestParams) -> Result<Reply<RejectOutput>, OpError> {
    let request = call.services.devices.reject(&params.request_id).await?;
    Ok(RejectOutput { request_id: request.request_id, device_id: request.device.device_id }.into())
}

/// Make a new token for one role of a device; connections with the former one are closed.
///
/// Without `operator.admin` a caller rotates only tokens of its own device, with scopes it holds.
#[derive(JsonSchema)]
pub struct DeviceTokenRotate;

pub const TOKEN_ERRORS: &[ErrorKind] = &[ErrorKind::NotFound(Noun::Device), ErrorKind::Denied];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotateParams {
    device_id: String,
    role: String,
    /// Absent = as before.
    #[serde(default)]
    scopes: Option<Vec<String>>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotateOutput {
    device_id: String,
    role: String,
    /// 32 hex digits; shown to the device itself and to administrators.
    token: String,
    scopes: Vec<String>,
    /// Unix milliseconds.
    rotated_at_ms: i64,
}

pub async fn rotate(call: Call, params: RotateParams) -> Result<Reply<RotateOutput>, OpError> {
    let RotateParams { device_id, role, scopes: words } = params;
    let asked = words.as_ref().map(|words| scopes::expand(words.iter().map(String::as_str)));
    let is_admin = allow(&call, &device_id)?;
    if !is_admin {
        let former = call
            .services
            .devices
            .get(&device_id)
            .await?
            .and_then(|device| device.token(&role).map(|token| token.scopes));
        let wanted = asked.or(former).unwrap_or_default();
        if let Some(missing) = wanted.iter().find(|scope| !call.principal.scopes.contains(*scope)) {
            return Err(missing_scope(missing));
        }
    }
    let rotated = call.services.devices.rotate(&device_id, &role, asked).await?;
    Ok(RotateOutput {
        device_id,
        role,
        token: rotated.secret.expose_secret().to_owned(),
        scopes: scopes::words(rotated.token.scopes),
        rotated_at_ms: rotated.at.as_ms(),
    }
    .into())
}

/// Revoke the token of one role of a device; connections with it are closed. The device stays paired.
#[derive(JsonSchema)]
pub struct DeviceTokenRevoke;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevokeParams {
    device_id: String,
    role: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevokeOutput {
    device_id: String,
    role: String,
    /// Unix milliseconds.
    revoked_at_ms: i64,
}

pub async fn revoke(call: Call, params: RevokeParams) -> Result<Reply<RevokeOutput>, OpError> {
    allow(&call, &params.device_id)?;
    let at = call.services.devices.revoke(&params.device_id, &params.role).await?;
    Ok(RevokeOutput { device_id: params.device_id, role: params.role, revoked_at_ms: at.as_ms() }.into())
}

/// Others than administrators reach their own device only; gives whether the caller is one.
fn allow(call: &Call, device_id: &str) -> Result<bool, OpError> {
    if call.principal.scopes.contains(Scope::Admin) {
        return Ok(true);
    }
    let is_own = link(call)?.device_id.as_deref() == Some(device_id);
    if is_own { Ok(false) } else { Err(missing_scope(Scope::Admin)) }
}

fn missing_scope(scope: Scope) -> OpError {
    OpError::denied(format!("missing scope: {}", scopes::word(scope)))
        .with_details(json!({ "missing_scope": scope.as_str() }))
}
