//! A node that is cut off from the database, the bus, its clients, in every combination.

use crate::clients::Weather;
use crate::dice::Dice;
use crate::load::{Load, Plan};
use crate::rig::{Bus, NODES, Rig, soon};
use crate::upstream::Manner;
use crate::wire::Wire;

/// Messages that are to be accepted while a wire is cut.
const MEANWHILE: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_from_store_bus_and_clients_in_every_combination_does_no_harm() {
    let mut dice = Dice::thrown();
    let mut rig = Rig::start(Bus::Nats).await;
    let plan = Plan { sessions: 8, messages: None, manners: &Manner::FREE, weather: Weather::Foul };
    let load = Load::start(&rig, plan, &mut dice);
    for combination in 1_u8..8 {
        let node = dice.roll(NODES);
        let [store, bus, clients] = [1, 2, 4].map(|bit| combination & bit != 0);
        let is_silent = dice.roll(2) == 0;
        eprintln!("cut off node {node} from store {store}, bus {bus}, clients {clients}, silently {is_silent}");
        let lose: fn(&Wire) = if is_silent { Wire::swallow } else { Wire::cut };
        load.go_on_for(&rig, MEANWHILE).await;
        let (fence, cut) = (rig.fence(node), &rig.nodes[node]);
        if clients {
            lose(&cut.clients);
        }
        if bus {
            lose(cut.bus.as_ref().expect("there is a bus"));
        }
        if store {
            lose(&cut.store);
        }
        load.go_on_for(&rig, MEANWHILE).await;
        if store {
            // Whoever cannot show that it lives is out, and its runs are another's.
            rig.taken_over(fence).await;
            load.go_on_for(&rig, MEANWHILE).await;
        } else {
            assert_eq!(rig.fence(node), fence, "the lease is held in the database alone");
        }
        for wire in [&cut.clients, &cut.store].into_iter().chain(&cut.bus) {
            wire.mend();
        }
        rig.wait_until("it is a member", || rig.fence(node) > 0).await;
    }
    load.end(&mut rig).await;
}

/// What the database may say to a node that starts before it goes away: from the first greeting to the
/// last answer of a start.
const WORDS_MAX: usize = 24_000;
const STARTS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_database_goes_away_anywhere_in_its_start_waits_and_starts() {
    let mut dice = Dice::thrown();
    let mut rig = Rig::start(Bus::Nats).await;
    let plan = Plan { sessions: 6, messages: None, manners: &Manner::FREE, weather: Weather::Foul };
    let load = Load::start(&rig, plan, &mut dice);
    for start in 0..STARTS {
        load.go_on_for(&rig, MEANWHILE).await;
        let node = &mut rig.nodes[start % NODES];
        node.kill();
        let words = dice.roll(WORDS_MAX);
        eprintln!("{} starts, and its database goes away after {words} bytes", node.name);
        let mending = tokio::spawn(node.store.cut_after(words));
        node.start().await;
        soon("the cut", mending).await.expect("no panic");
    }
    load.end(&mut rig).await;
}
