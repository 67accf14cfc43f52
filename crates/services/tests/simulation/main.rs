//! The run engine and the event bus under schedules that nobody would write by hand.
//!
//! Each schedule is a cluster of up to three nodes over one database in memory, on one thread and in
//! virtual time: how long everything takes, what is said, asked, cancelled and reset, and which node
//! crashes, freezes, leaves, loses its link or has its clock jump, comes from one seed. Whatever
//! happens, each accepted message has one run, each run one end, each session one turn at a time, and
//! a client that goes from node to node sees every durable event once, in order.
//!
//! A failure names its seed; `PATCHBAY_SEED=17 cargo test -p services --test simulation` plays it
//! again. `PATCHBAY_SCHEDULES=100000` plays more of them, from a random seed on.

mod check;
mod clients;
mod dice;
mod faults;
mod link;
mod model_of;
mod node;
mod slow;
mod world;

use dice::Dice;
use world::World;

/// Schedules of each of the tests below in an ordinary run.
const SCHEDULES: u64 = 500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays schedules; the seeds of no two tests overlap.
fn play(test: u64, nodes: usize, faults: bool) {
    let count = number("PATCHBAY_SCHEDULES").unwrap_or(SCHEDULES);
    let first = match number("PATCHBAY_SEED") {
        Some(seed) => return schedule(seed, nodes, faults),
        None if number("PATCHBAY_SCHEDULES").is_some() => u64::from(std::process::id()) * 1_000_003,
        None => 1,
    };
    for seed in first..first + count {
        schedule(seed * 10 + test, nodes, faults);
    }
}

fn schedule(seed: u64, nodes: usize, faults: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime can be made");
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(World::play(Dice::new(seed), nodes, faults));
    }));
    if let Err(panic) = played {
        let reason = panic.downcast_ref::<String>().map(String::as_str);
        let reason = reason.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        panic!("the schedule of PATCHBAY_SEED={seed} ({nodes} nodes) fails: {reason}");
    }
}

#[test]
fn one_node_that_works() {
    play(1, 1, false);
}

#[test]
fn one_node_that_crashes() {
    play(2, 1, true);
}

#[test]
fn two_nodes_that_crash_freeze_and_lose_each_other() {
    play(3, 2, true);
}

#[test]
fn three_nodes_that_crash_freeze_and_lose_each_other() {
    play(4, 3, true);
}
