//! Nodes that are stopped in order and started again.

use crate::clients::Weather;
use crate::dice::Dice;
use crate::load::{Load, Plan};
use crate::rig::{Bus, NODES, Rig};
use crate::upstream::Manner;

/// Messages between two steps.
const BETWEEN: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_refused_while_one_node_after_the_other_is_restarted() {
    let mut dice = Dice::thrown();
    let mut rig = Rig::start(Bus::Nats).await;
    let plan = Plan { sessions: 6, messages: None, manners: &Manner::FREE, weather: Weather::Fair };
    let load = Load::start(&rig, plan, &mut dice);
    for node in 0..NODES {
        load.go_on_for(&rig, BETWEEN).await;
        let fence = rig.fence(node);
        rig.nodes[node].stop().await;
        // It has said goodbye: nobody had to wait for its lease.
        assert_eq!((rig.fence(node), rig.members()), (0, NODES - 1), "{fence} has left");
        load.go_on_for(&rig, BETWEEN).await;
        rig.nodes[node].start().await;
    }
    assert!(load.end(&mut rig).await > 2 * NODES * BETWEEN);
}
