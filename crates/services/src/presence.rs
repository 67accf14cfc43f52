//! Who is connected. Telling everybody of everybody is coalesced, so that connecting costs the
//! same with one client and with five thousand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::EventBus;
use model::{Clock, Event, PresenceEntry};

use crate::lifecycle::Lifecycle;

/// Entries kept; the oldest without a live connection goes first.
pub const PRESENCE_ENTRIES_MAX: usize = 200;
/// How long an entry outlives its connection.
pub const PRESENCE_TTL_MS: u64 = 300_000;
/// The first change is told at once, further ones together after this time for each [`COALESCE_CONNECTIONS`]
/// connections: what it costs to tell everybody of everybody does not grow with their number.
const COALESCE: Duration = Duration::from_millis(250);
const COALESCE_CONNECTIONS: u64 = 64;
const COALESCE_MAX: Duration = Duration::from_secs(30);

pub struct Presence {
    inner: Arc<Inner>,
}

struct Inner {
    bus: Arc<EventBus>,
    clock: Arc<dyn Clock>,
    lifecycle: Lifecycle,
    entries: Mutex<HashMap<String, Held>>,
    version: AtomicU64,
    connections: AtomicU64,
    telling: AtomicBool,
    changed: AtomicBool,
}

struct Held {
    entry: PresenceEntry,
    connections: u32,
}

impl Presence {
    pub fn new(bus: Arc<EventBus>, clock: Arc<dyn Clock>, lifecycle: Lifecycle) -> Self {
        Self {
            inner: Arc::new(Inner {
                bus,
                clock,
                lifecycle,
                entries: Mutex::default(),
                version: AtomicU64::new(1),
                connections: AtomicU64::new(0),
                telling: AtomicBool::new(false),
                changed: AtomicBool::new(false),
            }),
        }
    }

    /// Counts a connection of any dialect until the guard is dropped.
    pub fn count_connection(&self) -> ConnectionCount {
        self.inner.connections.fetch_add(1, Ordering::Relaxed);
        ConnectionCount(Arc::clone(&self.inner))
    }

    pub fn connections(&self) -> u64 {
        self.inner.connections.load(Ordering::Relaxed)
    }

    /// Grows by 1 with each change; starts at 1.
    pub fn version(&self) -> u64 {
        self.inner.version.load(Ordering::Acquire)
    }

    /// Enters a connection; entries with one key are one, with roles and scopes united. The entry
    /// stays until the guard is dropped, and some time longer.
    pub fn enter(&self, entry: PresenceEntry) -> PresenceGuard {
        let key = entry.key.clone();
        {
            let mut entries = self.inner.lock();
            match entries.get_mut(&key) {
                Some(held) => {
                    let (roles, scopes) =
                        (united(&held.entry.roles, &entry.roles), united(&held.entry.scopes, &entry.scopes));
                    held.entry = PresenceEntry { roles, scopes, ..entry };
                    held.connections += 1;
                }
                None => {
                    entries.insert(key.clone(), Held { entry, connections: 1 });
                }
            }
        }
        self.inner.tell();
        PresenceGuard { inner: Arc::clone(&self.inner), key }
    }

    /// Newest first.
    pub fn entries(&self) -> Vec<PresenceEntry> {
        self.inner.current()
    }
}

pub struct ConnectionCount(Arc<Inner>);

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

pub struct PresenceGuard {
    inner: Arc<Inner>,
    key: String,
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        {
            let mut entries = self.inner.lock();
            if let Some(held) = entries.get_mut(&self.key) {
                held.connections = held.connections.saturating_sub(1);
                if held.connections == 0 {
                    held.entry.reason = Some(String::from("disconnect"));
                    held.entry.at = self.inner.clock.now();
                }
            }
        }
        self.inner.tell();
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Held>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Vec<PresenceEntry> {
        let now = self.clock.now();
        let mut entries = self.lock();
        entries.retain(|_, held| held.connections > 0 || now.ms_since(held.entry.at) < PRESENCE_TTL_MS);
        while entries.len() > PRESENCE_ENTRIES_MAX {
            let oldest = entries
                .iter()
                .min_by_key(|(_, held)| (held.connections > 0, held.entry.at))
                .map(|(key, _)| key.clone());
            let Some(key) = oldest else { break };
            entries.remove(&key);
        }
        let mut list: Vec<PresenceEntry> = entries.values().map(|held| held.entry.clone()).collect();
        list.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.key.cmp(&b.key)));
        list
    }

    fn coalesce(&self) -> Duration {
        let times = self.connections.load(Ordering::Relaxed).div_ceil(COALESCE_CONNECTIONS).max(1);
        COALESCE.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX)).min(COALESCE_MAX)
    }

    /// Tells at once when nothing was told lately, else marks that there is more to tell.
    fn tell(self: &Arc<Self>) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.changed.store(true, Ordering::Release);
        if self.bus.listeners() == 0 || self.telling.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(self);
        self.lifecycle.spawn(async move {
            while inner.changed.swap(false, Ordering::AcqRel) {
                let entries: Arc<[PresenceEntry]> = inner.current().into();
                let version = inner.version.load(Ordering::Acquire);
                inner.bus.publish_ephemeral(inner.clock.now(), false, || Event::PresenceChanged { entries, version });
                tokio::select! {
                    () = tokio::time::sleep(inner.coalesce()) => {}
                    () = inner.lifecycle.stopping().cancelled() => break,
                }
            }
            inner.telling.store(false, Ordering::Release);
            // A change between the last look and this line would otherwise wait for the next one.
            if inner.changed.load(Ordering::Acquire) && !inner.lifecycle.stopping().is_cancelled() {
                inner.tell();
            }
        });
    }
}

fn united(a: &[String], b: &[String]) -> Vec<String> {
    let mut all: Vec<String> = a.iter().chain(b).cloned().collect();
    all.sort();
    all.dedup();
    all
}
