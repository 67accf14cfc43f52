//! A device at the door: what its coming changes, in one unit of work.

use model::{DeviceFacts, OpError, PAIR_REQUEST_TTL_MS, PairRequest, PairState, ScopeSet, Timestamp, TokenId};
use ring::hmac;
use serde::{Deserialize, Serialize};
use store::{Document, Snapshot, Tx};

use super::admission::{Admission, Knock, WaitReason};
use super::record::{self, PairedDevice, check_room};
use super::tokens::{self, Written};

pub(super) const KIND: &str = "device_request";

/// Requests that wait at a time; the oldest gives way.
pub const REQUESTS_MAX: usize = 256;

#[derive(Serialize, Deserialize)]
struct Stored {
    device: DeviceFacts,
    role: String,
    roles: Vec<String>,
    scopes: String,
    is_repair: bool,
    at: Timestamp,
}

/// What is needed to decide, besides the database.
pub(super) struct Plan {
    pub knock: Knock,
    pub now: Timestamp,
    /// For a new request.
    pub request_id: String,
    /// For a new token.
    pub token_id: TokenId,
    pub key: hmac::Key,
}

type Decided = (Admission, Written, Vec<(PairRequest, PairState)>);

impl Plan {
    pub(super) fn run(self, tx: &dyn Tx) -> Result<Decided, OpError> {
        let known = record::get(tx, &self.knock.device.device_id)?;
        if let Some(device) = &known
            && device.allows(&self.knock.device, &self.knock.role, self.knock.scopes)
        {
            let device = device.clone();
            return self.admit(tx, device, Vec::new());
        }
        let reason = wait_reason(known.as_ref(), &self.knock);
        let (request, is_new) = self.file(tx, known.is_some())?;
        if self.knock.is_local {
            let device = approve(tx, &request, self.now)?;
            return self.admit(tx, device, vec![(request, PairState::Approved)]);
        }
        let told = if is_new { vec![(request.clone(), PairState::Requested)] } else { Vec::new() };
        let (approved_roles, approved_scopes) =
            known.map_or((Vec::new(), ScopeSet::EMPTY), |device| (device.roles, device.scopes));
        Ok((Admission::Waiting { request, reason, approved_roles, approved_scopes }, Written::default(), told))
    }

    fn admit(
        self,
        tx: &dyn Tx,
        mut device: PairedDevice,
        told: Vec<(PairRequest, PairState)>,
    ) -> Result<Decided, OpError> {
        let Plan { knock, now, token_id, key, .. } = self;
        let written = tokens::ensure(tx, &key, &mut device, &knock.role, knock.scopes, token_id, now)?;
        // The device may have been updated or renamed since.
        device.device = DeviceFacts { public_key: device.device.public_key, ..knock.device };
        record::put(tx, &device, now)?;
        let token = device.token(&knock.role).ok_or_else(|| OpError::internal("a token was just made"))?;
        Ok((Admission::Admitted(tokens::grant(&key, &device.device.device_id, token)), written, told))
    }

    /// The open request of this device, widened to what it asks for now, or a new one.
    fn file(&self, tx: &dyn Tx, is_repair: bool) -> Result<(PairRequest, bool), OpError> {
        let knock = &self.knock;
        let mut all = open(tx, self.now)?;
        let found = all.iter().position(|request| request.device.device_id == knock.device.device_id);
        let (request, is_new) = match found {
            Some(index) => {
                let known = all.swap_remove(index);
                let mut roles = known.roles;
                if !roles.contains(&knock.role) {
                    roles.push(knock.role.clone());
                }
                let scopes = known.scopes.iter().chain(knock.scopes.iter()).collect();
                let request = PairRequest {
                    device: knock.device.clone(),
                    role: knock.role.clone(),
                    roles,
                    scopes,
                    silent: knock.is_local,
                    ..known
                };
                (request, false)
            }
            None => {
                drop_oldest(tx, &all)?;
                let request = PairRequest {
                    request_id: self.request_id.clone(),
                    device: knock.device.clone(),
                    role: knock.role.clone(),
                    roles: vec![knock.role.clone()],
                    scopes: knock.scopes,
                    silent: knock.is_local,
                    is_repair,
                    at: self.now,
                };
                (request, true)
            }
        };
        put(tx, &request, self.now)?;
        Ok((request, is_new))
    }
}

fn wait_reason(known: Option<&PairedDevice>, knock: &Knock) -> WaitReason {
    match known {
        None => WaitReason::NotPaired,
        Some(device) if !device.has_role(&knock.role) => WaitReason::RoleUpgrade,
        Some(_) => WaitReason::ScopeUpgrade,
    }
}

/// Turns a request into a paired device, or widens the one it belongs to, and removes the request.
pub(super) fn approve(tx: &dyn Tx, request: &PairRequest, now: Timestamp) -> Result<PairedDevice, OpError> {
    let device = match record::get(tx, &request.device.device_id)? {
        Some(known) => {
            let mut roles = known.roles;
            roles.extend(request.roles.iter().filter(|role| !roles.contains(role)).cloned().collect::<Vec<_>>());
            let scopes = known.scopes.iter().chain(request.scopes.iter()).collect();
            PairedDevice { device: request.device.clone(), roles, scopes, approved_at: now, ..known }
        }
        None => {
            check_room(tx)?;
            PairedDevice {
                device: request.device.clone(),
                roles: request.roles.clone(),
                scopes: request.scopes,
                created_at: now,
                approved_at: now,
                tokens: Vec::new(),
            }
        }
    };
    tx.documents_mut().delete(KIND, &request.request_id)?;
    record::put(tx, &device, now)?;
    Ok(device)
}

/// Requests that have not expired.
pub(super) fn open(snapshot: &dyn Snapshot, now: Timestamp) -> Result<Vec<PairRequest>, OpError> {
    let mut requests = Vec::new();
    for document in snapshot.documents().list(KIND)? {
        let stored: Stored = serde_json::from_value(document.body).map_err(OpError::internal)?;
        if now.ms_since(stored.at) < PAIR_REQUEST_TTL_MS {
            requests.push(PairRequest {
                request_id: document.id,
                device: stored.device,
                role: stored.role,
                roles: stored.roles,
                scopes: ScopeSet::from_text(&stored.scopes),
                silent: false,
                is_repair: stored.is_repair,
                at: stored.at,
            });
        }
    }
    Ok(requests)
}

fn put(tx: &dyn Tx, request: &PairRequest, now: Timestamp) -> Result<(), OpError> {
    let stored = Stored {
        device: request.device.clone(),
        role: request.role.clone(),
        roles: request.roles.clone(),
        scopes: request.scopes.to_text(),
        is_repair: request.is_repair,
        at: request.at,
    };
    let body = serde_json::to_value(stored).map_err(OpError::internal)?;
    tx.documents_mut().put(KIND, &Document { id: request.request_id.clone(), body, updated_at: now })?;
    Ok(())
}

/// Makes room for one more: expired requests go, then the oldest open ones.
fn drop_oldest(tx: &dyn Tx, open: &[PairRequest]) -> Result<(), OpError> {
    let mut kept: Vec<&PairRequest> = open.iter().collect();
    kept.sort_by_key(|request| std::cmp::Reverse(request.at));
    kept.truncate(REQUESTS_MAX - 1);
    for document in tx.documents().list(KIND)? {
        if !kept.iter().any(|request| request.request_id == document.id) {
            tx.documents_mut().delete(KIND, &document.id)?;
        }
    }
    Ok(())
}
