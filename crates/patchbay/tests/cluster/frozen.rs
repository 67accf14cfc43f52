//! A node that stands still for longer than its lease.

use model::Event;

use crate::check;
use crate::clients::Weather;
use crate::dice::Dice;
use crate::load::{Load, Plan};
use crate::rig::{Bus, NODES, Rig};
use crate::upstream::Manner;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_frozen_for_longer_than_its_lease_writes_nothing_stale_and_begins_a_new_life() {
    let mut dice = Dice::thrown();
    let mut rig = Rig::start(Bus::Nats).await;
    let plan = Plan { sessions: 12, messages: Some(4), manners: &Manner::ALL, weather: Weather::Foul };
    let load = Load::start(&rig, plan, &mut dice);
    let node = dice.roll(NODES);
    rig.wait_until("messages are accepted", || load.heard() >= 24).await;
    let (fence, pid) = (rig.fence(node), rig.nodes[node].pid());
    rig.wait_until("it drives something", || rig.driven_by(fence) > 0).await;
    rig.nodes[node].signal("STOP");
    rig.taken_over(fence).await;
    rig.nodes[node].signal("CONT");
    rig.wait_until("it is a member again", || rig.fence(node) > fence).await;
    assert_eq!(rig.nodes[node].pid(), pid);
    assert_eq!(load.end(&mut rig).await, 48);
    let name = rig.nodes[node].name.clone();
    let events = check::log(&rig);
    let left = events.iter().filter(|event| matches!(event, Event::NodeLeft { lost: true, .. })).count();
    let lives = events.iter().filter(|event| matches!(event, Event::NodeJoined { node, .. } if *node == name)).count();
    // On a machine that stands still as a whole, another life may be lost too.
    assert!(left >= 1 && lives >= 2, "one life was lost, and one followed it: {left}, {lives}");
}
