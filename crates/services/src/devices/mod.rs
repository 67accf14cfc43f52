//! Devices: which may connect, in which roles, with which scopes, and their tokens.
//!
//! A device proves who it is by a signature, which a dialect checks; here it is decided whether it
//! may come in ([`Devices::admit`]) and what an operator says of it. A device's token is derived
//! from a key of the gateway and a generation number, so that it can be told to the device again
//! and again while the database holds only its hash. Devices are documents of kind `device`,
//! open requests documents of kind `device_request`.

mod admission;
mod answer;
mod record;
mod requests;
mod tokens;

use std::sync::Arc;

use events::EventBus;
use model::{Clock, Event, Ids, OpError, PairRequest, PairState};
use ring::hmac;
use serde_json::json;
use store::{Document, Store};

pub use admission::{Admission, DeviceGrant, Knock, WaitReason};
pub use answer::Rotated;
pub use record::{DEVICES_MAX, DeviceToken, PairedDevice};
pub use requests::REQUESTS_MAX;
use tokens::LAST_USED_MS;

use crate::tokens::Tokens;

const KEYS: &str = "keys";

pub(crate) struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    pub bus: Arc<EventBus>,
    pub tokens: Arc<Tokens>,
}

pub struct Devices {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
    bus: Arc<EventBus>,
    tokens: Arc<Tokens>,
    key: hmac::Key,
}

impl Devices {
    pub(crate) async fn open(parts: Parts) -> Result<Self, OpError> {
        let Parts { store, clock, ids, bus, tokens } = parts;
        let fresh = hex::encode(ids.secret_bytes::<32>());
        let now = clock.now();
        let key = store
            .write::<_, OpError, _>(move |tx| {
                if let Some(key) = tx
                    .documents()
                    .get(KEYS, "devices")?
                    .and_then(|document| document.body["key"].as_str().map(str::to_owned))
                {
                    return Ok(key);
                }
                tx.documents_mut()
                    .put(KEYS, &Document { id: "devices".into(), body: json!({ "key": fresh }), updated_at: now })?;
                Ok(fresh)
            })
            .await?;
        Ok(Self { store, clock, ids, bus, tokens, key: hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()) })
    }

    /// Lets a device in, or files its request. Writes nothing for a device that is known and asks
    /// for nothing new, except now and then when its token was last used.
    pub async fn admit(&self, knock: Knock) -> Result<Admission, OpError> {
        if let Some(grant) = self.known(&knock).await? {
            return Ok(Admission::Admitted(grant));
        }
        let plan = self.plan(knock);
        let (admission, written, told) = self.store.write::<_, OpError, _>(move |tx| plan.run(tx)).await?;
        self.remember(written);
        for (request, state) in told {
            self.tell(request, state);
        }
        Ok(admission)
    }

    /// Open requests, newest first, and paired devices, newest approval first.
    pub async fn list(&self) -> Result<(Vec<PairRequest>, Vec<PairedDevice>), OpError> {
        let now = self.clock.now();
        self.store
            .read::<_, OpError, _>(move |snapshot| {
                let mut requests = requests::open(snapshot, now)?;
                requests.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.request_id.cmp(&b.request_id)));
                let mut devices = record::all(snapshot)?;
                devices.sort_by(|a, b| {
                    b.approved_at.cmp(&a.approved_at).then_with(|| a.device.device_id.cmp(&b.device.device_id))
                });
                Ok((requests, devices))
            })
            .await
    }

    pub async fn get(&self, device_id: &str) -> Result<Option<PairedDevice>, OpError> {
        let id = device_id.to_owned();
        self.store.read::<_, OpError, _>(move |snapshot| record::get(snapshot, &id)).await
    }

    /// The grant of a device that asks for nothing new and whose token was used lately.
    async fn known(&self, knock: &Knock) -> Result<Option<DeviceGrant>, OpError> {
        let Some(device) = self.get(&knock.device.device_id).await? else { return Ok(None) };
        let now = self.clock.now();
        let fits = device.allows(&knock.device, &knock.role, knock.scopes);
        let token = device.token(&knock.role).filter(|token| {
            fits && token.revoked_at.is_none()
                && knock.scopes.is_subset(token.scopes)
                && token.last_used_at.is_some_and(|at| now.ms_since(at) < LAST_USED_MS)
        });
        Ok(token.map(|token| tokens::grant(&self.key, &device.device.device_id, token)))
    }

    fn plan(&self, knock: Knock) -> requests::Plan {
        requests::Plan {
            knock,
            now: self.clock.now(),
            request_id: self.ids.uuid().to_string(),
            token_id: self.ids.token(),
            key: self.key.clone(),
        }
    }

    /// Puts what was written about tokens into memory.
    fn remember(&self, written: tokens::Written) {
        self.tokens.remember(written.made);
        self.tokens.forget(&written.revoked);
    }

    fn tell(&self, request: PairRequest, state: PairState) {
        let request = Arc::new(request);
        self.bus.publish_ephemeral(self.clock.now(), false, || Event::PairingChanged { request, state });
    }
}

#[cfg(test)]
mod tests;
