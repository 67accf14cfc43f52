//! Showing that this node lives, and noticing which others do not.
//!
//! Each node raises a number in the database and watches those of the others. A node whose number
//! stood still for its lease is dead to whoever watched it that long without a break of its own.
//! Only durations of this machine are measured: no clock of another one, nor the wall clock, has a say.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use model::{Event, Fence, OpError};
use store::{Node, StoreError};
use tokio::time::{Instant, MissedTickBehavior};

use super::{Cluster, Observed};
use crate::lifecycle::Lifecycle;

/// Beats within a lease.
const BEATS: u32 = 10;
const BEAT_MIN: Duration = Duration::from_millis(20);
/// A node is given up so many beats before its lease is over, so that another one drives its runs by then.
const EARLY: u32 = 2;

/// Who takes up what a dead node held.
#[async_trait]
pub(crate) trait Heirs: Send + Sync {
    /// Takes over every run whose node is gone.
    async fn take_up_orphans(&self) -> Result<usize, OpError>;
}

/// What this node has seen of the others since its own last break.
#[derive(Default)]
struct Watch {
    seen: HashMap<Fence, (u64, Instant)>,
    looked_at: Option<Instant>,
}

impl Watch {
    /// The nodes that have been still for too long.
    fn look(&mut self, nodes: &[Node], me: Fence, beat: Duration, now: Instant) -> Vec<Node> {
        // Whoever could not look cannot say that nothing moved. Half a lease is forgiven, for a machine that is
        // busy: even if nobody could beat meanwhile, it is too little to count as dead.
        if self.looked_at.is_some_and(|at| now.duration_since(at) > beat * (BEATS / 2)) {
            self.seen.clear();
        }
        self.looked_at = Some(now);
        self.seen.retain(|fence, _| nodes.iter().any(|node| node.fence == *fence));
        let mut dead = Vec::new();
        for node in nodes.iter().filter(|node| node.fence != me) {
            let seen = self.seen.entry(node.fence).or_insert((node.beats, now));
            if seen.0 != node.beats {
                *seen = (node.beats, now);
            }
            let patience = Duration::from_millis(node.node.lease_ms).saturating_sub(beat * EARLY);
            if now.duration_since(seen.1) >= patience {
                dead.push(node.clone());
            }
        }
        dead
    }
}

impl Cluster {
    /// Begins to beat and to watch; nothing to do for a node that has its database alone.
    pub(crate) fn beat(self: &Arc<Self>, heirs: Arc<dyn Heirs>, lifecycle: &Lifecycle) {
        if !self.is_shared() {
            return;
        }
        let (cluster, life) = (Arc::clone(self), lifecycle.clone());
        let (stopped, draining) = (lifecycle.stopping().clone(), lifecycle.draining().clone());
        lifecycle.spawn(async move {
            let period = cluster.beat_period();
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut watch = Watch::default();
            loop {
                tokio::select! {
                    biased;
                    () = stopped.cancelled() => return,
                    _ = ticks.tick() => {}
                    () = cluster.changed.notified() => {}
                }
                let shown = cluster.show(draining.is_cancelled()).await;
                cluster.measure(shown.is_ok());
                let nodes = match shown {
                    Ok(nodes) => nodes,
                    Err(StoreError::FencedOff) => {
                        tracing::error!(node = cluster.name, fence = %cluster.me, "another node has taken over from this one");
                        cluster.fenced.send_replace(true);
                        life.ask_restart("another node has taken over from this one");
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "this node could not show that it lives");
                        continue;
                    }
                };
                let now = Instant::now();
                let dead = watch.look(&nodes, cluster.me, period, now);
                cluster.observe(nodes, now);
                // A node that is about to leave must not take on what it would hand on at once.
                if draining.is_cancelled() {
                    continue;
                }
                for node in dead {
                    cluster.bury(&node).await;
                }
                match heirs.take_up_orphans().await {
                    Ok(0) => {}
                    Ok(runs) => tracing::info!(runs, "runs of nodes that are gone were taken over"),
                    Err(error) => tracing::warn!(%error, "runs of nodes that are gone could not be taken over yet"),
                }
            }
        });
    }

    fn beat_period(&self) -> Duration {
        (self.lease / BEATS).max(BEAT_MIN)
    }

    async fn show(&self, is_draining: bool) -> Result<Vec<Node>, StoreError> {
        let addresses = self.addresses.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let me = self.me;
        self.store
            .write::<_, StoreError, _>(move |tx| {
                if !tx.nodes_mut().beat(me, &addresses, is_draining)? {
                    return Err(StoreError::FencedOff);
                }
                tx.nodes().list()
            })
            .await
    }

    fn measure(&self, is_store_up: bool) {
        self.is_cut_off.store(!is_store_up, Ordering::Relaxed);
        let number = |is: bool| if is { 1.0 } else { 0.0 };
        metrics::gauge!("patchbay_store_up").set(number(is_store_up));
        if let Some(link) = &self.link {
            metrics::gauge!("patchbay_bus_up").set(number(link.is_up()));
        }
    }

    fn observe(&self, found: Vec<Node>, now: Instant) {
        let mut nodes = self.nodes();
        let observed = found.into_iter().map(|node| {
            let before = nodes.iter().find(|before| before.node.fence == node.fence && before.node.beats == node.beats);
            let alive_at = before.map_or(now, |before| before.alive_at);
            Observed { node, alive_at }
        });
        let observed: Vec<Observed> = observed.collect();
        self.has_peers.store(observed.len() > 1, Ordering::Relaxed);
        metrics::gauge!("patchbay_cluster_nodes").set(f64::from(u32::try_from(observed.len()).unwrap_or(u32::MAX)));
        *nodes = observed;
    }

    /// Ends the life of a node that is silent: from here on it writes nothing.
    async fn bury(&self, dead: &Node) {
        let (fence, name, now) = (dead.fence, dead.node.name.clone(), self.clock.now());
        let buried = self.store.write::<_, OpError, _>(move |tx| {
            let was_there = tx.nodes_mut().remove(fence)?;
            if was_there {
                tx.events_mut().append(now, &Event::NodeLeft { node: name, fence, lost: true })?;
            }
            Ok(was_there)
        });
        match buried.await {
            Ok(true) => {
                tracing::warn!(node = dead.node.name, %fence, lease_ms = dead.node.lease_ms, "a node was silent for its lease; it is out of the cluster");
                metrics::counter!("patchbay_cluster_nodes_lost_total").increment(1);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, node = dead.node.name, "a silent node could not be removed yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use serde_json::json;
    use store::NewNode;

    use super::*;

    const BEAT: Duration = Duration::from_millis(500);

    fn node(fence: u64, beats: u64) -> Node {
        let node = NewNode {
            name: format!("n{fence}"),
            host: String::new(),
            version: String::new(),
            pid: 1,
            addresses: json!({}),
            lease_ms: 5000,
            at: Timestamp::from_ms(0),
        };
        Node { fence: Fence(fence), node, beats, is_draining: false }
    }

    fn dead(watch: &mut Watch, nodes: &[Node], now: Instant) -> Vec<u64> {
        watch.look(nodes, Fence(1), BEAT, now).iter().map(|node| node.fence.0).collect()
    }

    #[test]
    fn a_node_is_dead_when_it_stood_still_for_its_lease_and_never_before() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        for tick in 0..8_u32 {
            assert!(
                dead(&mut watch, &[node(1, 0), node(2, 7), node(3, u64::from(tick))], start + BEAT * tick).is_empty()
            );
        }
        assert_eq!(dead(&mut watch, &[node(1, 0), node(2, 7), node(3, 9)], start + BEAT * 8), [2]);
        assert!(dead(&mut watch, &[node(1, 0), node(2, 8), node(3, 9)], start + BEAT * 9).is_empty(), "it moved");
    }

    #[test]
    fn whoever_could_not_look_starts_to_watch_anew() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        assert!(dead(&mut watch, &[node(1, 0), node(2, 7)], start).is_empty());
        // The database was away for a minute, and nobody could beat.
        let back = start + Duration::from_secs(60);
        for tick in 0..8_u32 {
            assert!(dead(&mut watch, &[node(1, 1), node(2, 7)], back + BEAT * tick).is_empty());
        }
        assert_eq!(dead(&mut watch, &[node(1, 1), node(2, 7)], back + BEAT * 8), [2]);
    }
}
