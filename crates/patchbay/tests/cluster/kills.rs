//! kill -9.

use std::time::Instant;

use crate::clients::Weather;
use crate::dice::{Dice, number};
use crate::load::{Load, Plan};
use crate::rig::{Bus, GRACE, LEASE, NODES, Rig};
use crate::upstream::Manner;

const RUNS: usize = 200;
const SESSIONS: usize = 50;
/// Each node once, unless the environment asks for more rounds of it.
const ROUNDS: usize = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_200_runs_is_counted_when_any_node_is_killed_in_their_middle() {
    killed(Bus::Nats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_for_nodes_that_speak_through_the_database() {
    killed(Bus::Database).await;
}

async fn killed(bus: Bus) {
    let mut dice = Dice::thrown();
    let rounds = number("PATCHBAY_CLUSTER_ROUNDS").unwrap_or(ROUNDS);
    let mut rig = Rig::start(bus).await;
    let kills = rounds * NODES;
    let plan = Plan {
        sessions: SESSIONS,
        messages: Some(RUNS * rounds / SESSIONS),
        manners: &Manner::ALL,
        weather: Weather::Foul,
    };
    let load = Load::start(&rig, plan, &mut dice);
    let first = dice.roll(NODES);
    for kill in 0..kills {
        let node = (first + kill) % NODES;
        let fence = rig.fence(node);
        // Somewhere in this kill's part of all messages.
        let goal = (RUNS * rounds * kill + dice.roll(RUNS * rounds)) / kills;
        rig.wait_until("messages are accepted", || load.heard() >= goal).await;
        rig.nodes[node].kill();
        let (killed_at, heard) = (Instant::now(), load.heard());
        rig.taken_over(fence).await;
        eprintln!(
            "kill {kill}: {} after {heard} messages, taken over in {:?}",
            rig.nodes[node].name,
            killed_at.elapsed()
        );
        rig.nodes[node].start().await;
    }
    assert_eq!(load.end(&mut rig).await, RUNS * rounds);
}

/// Of which each node drives a third, more or less.
const HELD: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_node_drove_is_taken_over_within_its_lease_and_two_seconds() {
    let mut dice = Dice::thrown();
    let mut rig = Rig::start(Bus::Nats).await;
    let plan = Plan { sessions: HELD, messages: Some(1), manners: &[Manner::Held], weather: Weather::Foul };
    let load = Load::start(&rig, plan, &mut dice);
    rig.wait_until("all runs go on", || rig.running() == HELD as u64).await;
    let node = dice.roll(NODES);
    let fence = rig.fence(node);
    let driven = rig.driven_by(fence);
    assert!(driven > 0, "{} drives nothing", rig.nodes[node].name);
    rig.nodes[node].kill();
    let killed_at = Instant::now();
    rig.taken_over(fence).await;
    let took = killed_at.elapsed();
    eprintln!("{driven} runs of {} taken over in {took:?}", rig.nodes[node].name);
    assert!(took < LEASE + GRACE, "{driven} runs are taken over only after {took:?}");
    assert_eq!(load.end(&mut rig).await, HELD);
}
