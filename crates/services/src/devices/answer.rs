//! What an operator says of devices: approve, reject, rotate, revoke.

use model::{ErrorKind, Noun, OpError, PairRequest, PairState, Principal, Scope, ScopeSet, Secret, Timestamp};
use serde_json::json;

use super::Devices;
use super::record::{self, DeviceToken, PairedDevice};
use super::requests::{self, KIND};
use super::tokens::{self, Written};

/// A token that was made anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotated {
    pub secret: Secret,
    pub token: DeviceToken,
    pub at: Timestamp,
}

impl Devices {
    /// Lets the device of a request in. Its token of the requested role is replaced.
    ///
    /// Without `admin` an operator approves only the role operator and scopes of its own
    /// (`Denied`, with the missing scope in the details). `NotFound` for unknown and expired requests.
    pub async fn approve(&self, by: &Principal, request_id: &str) -> Result<PairedDevice, OpError> {
        let (id, now, key, by) = (request_id.to_owned(), self.clock.now(), self.key.clone(), by.clone());
        let token_id = self.ids.token();
        let (request, device, written) = self
            .store
            .write::<_, OpError, _>(move |tx| {
                let request = find(requests::open(tx, now)?, &id)?;
                may_approve(&by, &request)?;
                let mut device = requests::approve(tx, &request, now)?;
                let written = tokens::replace(tx, &key, &mut device, &request.role, request.scopes, token_id, now)?;
                record::put(tx, &device, now)?;
                Ok((request, device, written))
            })
            .await?;
        self.remember(written);
        self.tell(request, PairState::Approved);
        Ok(device)
    }

    /// Turns a request down. `NotFound` for unknown and expired requests.
    pub async fn reject(&self, request_id: &str) -> Result<PairRequest, OpError> {
        let (id, now) = (request_id.to_owned(), self.clock.now());
        let request = self
            .store
            .write::<_, OpError, _>(move |tx| {
                let request = find(requests::open(tx, now)?, &id)?;
                tx.documents_mut().delete(KIND, &request.request_id)?;
                Ok(request)
            })
            .await?;
        self.tell(request.clone(), PairState::Rejected);
        Ok(request)
    }

    /// A new token for one role of a device, with the scopes of the former one unless others are
    /// named; they must be among the device's own. Connections with the former token are closed.
    pub async fn rotate(&self, device_id: &str, role: &str, scopes: Option<ScopeSet>) -> Result<Rotated, OpError> {
        let (id, wanted, now, key) = (device_id.to_owned(), role.to_owned(), self.clock.now(), self.key.clone());
        let token_id = self.ids.token();
        let (token, written) = self
            .store
            .write::<_, OpError, _>(move |tx| {
                let (mut device, former) = role_of(tx, &id, &wanted)?;
                let scopes = scopes.unwrap_or(former.scopes);
                if let Some(missing) = scopes.iter().find(|scope| !device.scopes.contains(*scope)) {
                    return Err(missing_scope(missing));
                }
                let written = tokens::replace(tx, &key, &mut device, &wanted, scopes, token_id, now)?;
                record::put(tx, &device, now)?;
                let token = device.token(&wanted).cloned().ok_or_else(|| OpError::internal("a token was just made"))?;
                Ok((token, written))
            })
            .await?;
        self.remember(written);
        let secret = tokens::secret(&self.key, device_id, role, token.generation);
        Ok(Rotated { secret, token, at: now })
    }

    /// Revokes the token of one role; the device stays paired. Connections with it are closed.
    /// Gives when it was revoked, which is earlier when it had been before.
    pub async fn revoke(&self, device_id: &str, role: &str) -> Result<Timestamp, OpError> {
        let (id, wanted, now) = (device_id.to_owned(), role.to_owned(), self.clock.now());
        let (at, written) = self
            .store
            .write::<_, OpError, _>(move |tx| {
                let (mut device, token) = role_of(tx, &id, &wanted)?;
                if let Some(at) = token.revoked_at {
                    return Ok((at, Written::default()));
                }
                tokens::revoke_row(tx, &token.token_id, now)?;
                for held in device.tokens.iter_mut().filter(|held| held.role == wanted) {
                    held.revoked_at = Some(now);
                }
                record::put(tx, &device, now)?;
                Ok((now, Written { revoked: vec![token.token_id], ..Written::default() }))
            })
            .await?;
        self.remember(written);
        Ok(at)
    }

    /// Whether `secret` is a token of this device and role that was revoked.
    pub async fn was_revoked(&self, device_id: &str, role: &str, secret: &str) -> Result<bool, OpError> {
        let Some(device) = self.get(device_id).await? else { return Ok(false) };
        Ok(device.token(role).filter(|token| token.revoked_at.is_some()).is_some_and(|token| {
            tokens::secret(&self.key, device_id, role, token.generation).expose_secret() == secret
        }))
    }
}

fn find(open: Vec<PairRequest>, id: &str) -> Result<PairRequest, OpError> {
    open.into_iter().find(|request| request.request_id == id).ok_or_else(|| unknown(id, "unknown requestId"))
}

fn role_of(tx: &dyn store::Tx, id: &str, role: &str) -> Result<(PairedDevice, DeviceToken), OpError> {
    let device = record::get(tx, id)?;
    let token = device.as_ref().and_then(|device| device.token(role)).cloned();
    device.zip(token).ok_or_else(|| unknown(id, "unknown deviceId/role"))
}

fn unknown(id: &str, message: &str) -> OpError {
    let mut error = OpError::new(ErrorKind::NotFound(Noun::Device), message);
    error.id = Some(id.to_owned());
    error
}

fn may_approve(by: &Principal, request: &PairRequest) -> Result<(), OpError> {
    if by.scopes.contains(Scope::Admin) {
        return Ok(());
    }
    if request.roles.iter().any(|role| role != "operator") {
        return Err(missing_scope(Scope::Admin));
    }
    match request.scopes.iter().find(|scope| !by.scopes.contains(*scope)) {
        Some(missing) => Err(missing_scope(missing)),
        None => Ok(()),
    }
}

fn missing_scope(scope: Scope) -> OpError {
    OpError::denied(format!("the scope `{}` is missing", scope.as_str()))
        .with_details(json!({ "missing_scope": scope.as_str() }))
}
