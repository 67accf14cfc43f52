//! The servers behind the nodes: lost, restarted, slow.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::clients::{Answer, Client, TRY_AGAIN, Weather};
use crate::dice::{Dice, number};
use crate::load::{Load, Plan};
use crate::rig::{Bus, Rig};
use crate::upstream::Manner;

/// Messages between two steps.
const BETWEEN: usize = 20;
/// What each piece on a slow wire takes.
const SLOW: Duration = Duration::from_millis(30);
/// For how long the database is away, unless the environment says how many seconds.
const OUTAGE_SECS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
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
    load.end(&mut rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_survive_the_restart_of_the_database_and_calls_meanwhile_are_told_to_try_again() {
    let mut dice = Dice::thrown();
    let outage = number("PATCHBAY_OUTAGE_SECS").unwrap_or(OUTAGE_SECS);
    let mut rig = Rig::start(Bus::Nats).await;
    let plan = Plan { sessions: 12, messages: Some(4), manners: &Manner::ALL, weather: Weather::Foul };
    let load = Load::start(&rig, plan, &mut dice);
    rig.wait_until("messages are accepted", || load.heard() >= 24).await;
    let ports: Vec<u16> = rig.nodes.iter().map(|node| node.clients.port()).collect();
    rig.postgres.stop();
    let (began, mut told) = (Instant::now(), vec![0; ports.len()]);
    let mut clients: Vec<Client> = (0..ports.len()).map(|at| Client::new(vec![ports[at]], 0, Weather::Foul)).collect();
    // Every node says so, for as long as it lasts.
    while began.elapsed() < Duration::from_secs(outage as u64) || told.contains(&0) {
        for (client, told) in clients.iter_mut().zip(&mut told) {
            let params = json!({ "message": "is anybody there? AtOnce", "session_key": "agent:main:dm:nobody" });
            match client.call("agent.run", params).await {
                Answer::Error(TRY_AGAIN, message) => {
                    assert!(!message.contains("postgres"), "{message}");
                    *told += 1;
                }
                Answer::Moved => {}
                other => panic!("a write without a database: {other:?}"),
            }
        }
    }
    rig.postgres.start_again();
    eprintln!("told to try again: {told:?} times in {:?}", began.elapsed());
    assert_eq!(load.end(&mut rig).await, 48);
}
