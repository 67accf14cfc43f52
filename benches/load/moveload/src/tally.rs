//! What one kind of client saw.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use benchkit::stats::Latency;
use serde_json::{Value, json};

#[derive(Default)]
pub struct Tally {
    latency: Mutex<Latency>,
    failures: Mutex<BTreeMap<String, u64>>,
    /// Times a client was told to connect again.
    moved: AtomicU64,
    /// Calls that were not answered before that, and sent again.
    resent: AtomicU64,
}

impl Tally {
    pub fn answered(&self, took_ns: u64) {
        self.latency.lock().expect("no panics inside").record(took_ns);
    }

    pub fn fail(&self, reason: impl Into<String>) {
        *self.failures.lock().expect("no panics inside").entry(reason.into()).or_default() += 1;
    }

    pub fn moved(&self) {
        self.moved.fetch_add(1, Relaxed);
    }

    pub fn resent(&self) {
        self.resent.fetch_add(1, Relaxed);
    }

    pub fn failed(&self) -> u64 {
        self.failures.lock().expect("no panics inside").values().sum()
    }

    pub fn to_json(&self) -> Value {
        let failures = self.failures.lock().expect("no panics inside").clone();
        json!({
            "latency_us": self.latency.lock().expect("no panics inside").to_json(),
            "failed": failures.values().sum::<u64>(),
            "failures": failures,
            "moved": self.moved.load(Relaxed),
            "resent": self.resent.load(Relaxed),
        })
    }
}
