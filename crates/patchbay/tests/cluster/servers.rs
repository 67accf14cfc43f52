//! The bus behind the nodes: lost, started again, slow.

use std::time::Duration;

use crate::check::Ends;
use crate::clients::Weather;
use crate::dice::Dice;
use crate::load::{Load, Plan};
use crate::rig::{Bus, Rig};
use crate::upstream::Manner;

/// Messages between two steps.
const BETWEEN: usize = 20;
/// What each piece on a slow wire takes.
const SLOW: Duration = Duration::from_millis(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes of real processes; not steady yet on a busy machine"]
async fn nodes_meet_in_the_database_while_the_bus_is_lost_or_slow() {
    let mut dice = Dice::thrown();
    let mut rig = Rig::start(Bus::Nats).await;
    let plan = Plan { sessions: 6, messages: None, manners: &Manner::FREE, weather: Weather::Fair };
    let load = Load::start(&rig, plan, &mut dice);
    load.go_on_for(&rig, BETWEEN).await;
    let nats = rig.nats.as_ref().expect("there is a bus");
    nats.kill();
    load.go_on_for(&rig, BETWEEN).await;
    nats.start_again();
    load.go_on_for(&rig, BETWEEN).await;
    rig.nodes.iter().filter_map(|node| node.bus.as_ref()).for_each(|bus| bus.slow(SLOW));
    load.go_on_for(&rig, BETWEEN).await;
    rig.nodes.iter().filter_map(|node| node.bus.as_ref()).for_each(|bus| bus.mend());
    load.go_on_for(&rig, BETWEEN).await;
    load.end(&mut rig, Ends::Whole).await;
}
