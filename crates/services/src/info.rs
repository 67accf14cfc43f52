//! What the gateway says about itself.

use std::path::PathBuf;

use model::{Clock, Timestamp};

#[derive(Debug, Clone)]
pub struct GatewayInfo {
    pub version: &'static str,
    /// Commit id, or `dev`.
    pub build: &'static str,
    pub started_at: Timestamp,
    /// New for each process.
    pub instance_id: String,
    pub host: String,
    pub home: PathBuf,
    pub pid: u32,
}

impl GatewayInfo {
    pub fn uptime_ms(&self, clock: &dyn Clock) -> u64 {
        clock.now().ms_since(self.started_at)
    }
}
