//! The health snapshot: built now and then, answered from memory.
//!
//! One snapshot serves the method, the event and the handshake. It is refreshed when somebody asks
//! and it has grown old, or when somebody connects, but never more than once in a span that grows
//! with the number of connections: telling everybody must not cost more the more there are.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use model::{AgentId, Event, OpError, Timestamp};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use services::Services;
use services::sessions::SessionFilter;

use crate::keys;

/// A snapshot older than this is not answered any more.
pub const STALE_MS: u64 = 60_000;
/// A snapshot older than this is refreshed behind the answer.
const REFRESH_MS: u64 = 10_000;
/// Sessions listed in a snapshot.
const RECENT: u64 = 5;

pub struct Snapshot {
    pub json: Box<RawValue>,
    at: Timestamp,
    /// What a change is told by: everything but times that pass by themselves.
    core: String,
}

#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    services: Arc<Services>,
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    version: AtomicU64,
    /// Held while a snapshot is built, so that many callers make one.
    building: tokio::sync::Mutex<()>,
    /// A refresh behind somebody's back is under way.
    refreshing: AtomicBool,
}

impl Health {
    pub fn new(services: Arc<Services>) -> Self {
        let inner = Inner {
            services,
            snapshot: RwLock::new(None),
            version: AtomicU64::new(1),
            building: tokio::sync::Mutex::new(()),
            refreshing: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The last snapshot, however old.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.inner.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts at 1 and grows by 1 with each change.
    pub fn version(&self) -> u64 {
        self.inner.version.load(Ordering::Acquire)
    }

    /// A snapshot that is not stale; built now when there is none, or when `probe` asks for it.
    pub async fn current(&self, probe: bool) -> Result<Arc<Snapshot>, OpError> {
        let known = self.snapshot().filter(|snapshot| !probe && self.age(snapshot) < STALE_MS);
        match known {
            Some(snapshot) => {
                if self.age(&snapshot) >= REFRESH_MS {
                    self.refresh_after(REFRESH_MS);
                }
                Ok(snapshot)
            }
            None => self.inner.refresh((!probe).then_some(STALE_MS)).await,
        }
    }

    /// Somebody connected: everybody shall hear of the gateway's health soon.
    pub fn nudge(&self) {
        let connections = self.inner.services.presence.connections();
        self.refresh_after(connections.saturating_mul(10).clamp(1000, STALE_MS));
    }

    /// Time has passed: see that the snapshot is not stale.
    pub fn tick(&self) {
        self.refresh_after(STALE_MS);
    }

    fn refresh_after(&self, ms: u64) {
        let is_fresh = self.snapshot().is_some_and(|snapshot| self.age(&snapshot) < ms);
        if is_fresh || self.inner.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(&self.inner);
        self.inner.services.lifecycle.spawn(async move {
            if let Err(error) = inner.refresh(Some(ms)).await {
                tracing::warn!(%error, "the health snapshot could not be refreshed");
            }
            inner.refreshing.store(false, Ordering::Release);
        });
    }

    fn age(&self, snapshot: &Snapshot) -> u64 {
        self.inner.age(snapshot)
    }
}

impl Inner {
    fn age(&self, snapshot: &Snapshot) -> u64 {
        self.services.clock.now().ms_since(snapshot.at)
    }

    /// Builds a snapshot and tells of it, unless there is one that is younger than `fresh_ms` by now.
    async fn refresh(&self, fresh_ms: Option<u64>) -> Result<Arc<Snapshot>, OpError> {
        let _building = self.building.lock().await;
        let known = self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(known), Some(fresh_ms)) = (known, fresh_ms)
            && self.age(&known) < fresh_ms
        {
            return Ok(known);
        }
        let began = self.services.clock.now();
        let (mut value, core) = build(&self.services).await?;
        let now = self.services.clock.now();
        value["ts"] = json!(now.as_ms());
        value["durationMs"] = json!(now.ms_since(began));
        let json = serde_json::value::to_raw_value(&value).map_err(OpError::internal)?;
        let snapshot = Arc::new(Snapshot { json, at: now, core });
        let former = self.snapshot.write().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(&snapshot));
        if former.is_some_and(|former| former.core != snapshot.core) {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        let version = self.version.load(Ordering::Acquire);
        self.services.bus.publish_ephemeral(now, false, || Event::HealthChanged { version });
        Ok(snapshot)
    }
}

/// The snapshot without its times, and what of it counts as a change.
async fn build(services: &Services) -> Result<(Value, String), OpError> {
    let default = services.agents.default_agent().id.clone();
    let mut core = Vec::new();
    let all = sessions(services, None, &mut core).await?;
    let mut agents = Vec::new();
    for agent in services.agents.list().iter() {
        let sessions = sessions(services, Some(agent.id.clone()), &mut core).await?;
        agents.push(json!({
            "agentId": agent.id, "name": agent.name, "isDefault": agent.id == default, "heartbeat": no_heartbeat(), "sessions": sessions,
        }));
    }
    let value = json!({
        "ok": true,
        "ts": 0,
        "durationMs": 0,
        "channels": {},
        "channelOrder": [],
        "channelLabels": {},
        "heartbeatSeconds": 0,
        "defaultAgentId": default,
        "agents": agents,
        "sessions": all,
    });
    Ok((value, core.join("\n")))
}

/// Agents of this gateway have no heartbeat of their own.
pub fn no_heartbeat() -> Value {
    json!({ "enabled": false, "every": "disabled", "everyMs": null, "prompt": "", "target": "none", "ackMaxChars": 0 })
}

async fn sessions(services: &Services, agent: Option<AgentId>, core: &mut Vec<String>) -> Result<Value, OpError> {
    let page = services.sessions.list(SessionFilter { agent, limit: RECENT, ..SessionFilter::default() }).await?;
    let now = services.clock.now();
    let recent: Vec<Value> = page
        .sessions
        .iter()
        .map(|session| json!({ "key": keys::spell(&session.key), "updatedAt": session.updated_at.as_ms(), "age": now.ms_since(session.updated_at) }))
        .collect();
    core.push(page.total.to_string());
    core.extend(page.sessions.iter().map(|session| format!("{} {}", session.key, session.updated_at.as_ms())));
    // Where the sessions are stored is for administrators only; a snapshot is for everybody.
    Ok(json!({ "path": crate::methods::HIDDEN, "count": page.total, "recent": recent }))
}
