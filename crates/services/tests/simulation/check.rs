//! What must hold when all is over.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use model::{Cursor, Event, Role, RunId, SessionKey};

use crate::world::World;

pub async fn all(world: &Rc<World>) {
    let node = world.node().expect("every node is up");
    let log = node.store_read(|snapshot| snapshot.events().after(Cursor(0), u32::MAX)).await;
    for (place, stored) in (1..).zip(&log) {
        assert_eq!(stored.cursor, Cursor(place), "the log has no gap");
    }
    let events: Vec<Event> = log.into_iter().map(|stored| stored.event).collect();
    ends(world, &events);
    turns(&events);
    watched(world, &events);
    messages(world, &events);
}

/// Each accepted run has one acceptance and one end, and nothing of it comes behind its end.
fn ends(world: &Rc<World>, events: &[Event]) {
    let mut accepted: HashSet<&RunId> = HashSet::new();
    let mut ended: HashSet<&RunId> = HashSet::new();
    for event in events {
        let Some(run) = event.run().map(|run| &run.run_id) else { continue };
        assert!(!ended.contains(run), "something of {run} comes behind its end: {event:?}");
        match event {
            Event::RunAccepted { .. } => assert!(accepted.insert(run), "{run} is accepted twice"),
            Event::RunEnded { .. } => {
                assert!(accepted.contains(run), "{run} ends and was never accepted");
                ended.insert(run);
            }
            _ => {}
        }
    }
    for said in world.said.borrow().iter() {
        assert!(ended.contains(&said.run), "{} was accepted and has no end", said.run);
    }
    assert_eq!(accepted, ended, "every run that was accepted has ended");
}

/// One turn at a time in each session, in the order in which they were accepted.
fn turns(events: &[Event]) {
    let mut active: HashMap<&SessionKey, &RunId> = HashMap::new();
    let mut accepted: HashMap<&RunId, usize> = HashMap::new();
    let mut last: HashMap<&SessionKey, &RunId> = HashMap::new();
    for (place, event) in events.iter().enumerate() {
        match event {
            Event::RunAccepted { run, .. } => {
                accepted.insert(&run.run_id, place);
            }
            Event::RunStarted { run, .. } => {
                let before = active.insert(&run.session_key, &run.run_id);
                assert_eq!(before, None, "{} starts while another run is active", run.run_id);
                if let Some(last) = last.insert(&run.session_key, &run.run_id) {
                    assert!(accepted[last] < accepted[&run.run_id], "{} starts after {last}", run.run_id);
                }
            }
            Event::RunEnded { run, started: true, .. } => {
                assert_eq!(active.remove(&run.session_key), Some(&run.run_id));
            }
            _ => {}
        }
    }
}

/// The watcher saw the log from its beginning, without a gap and a repeat.
fn watched(world: &Rc<World>, events: &[Event]) {
    let seen = world.seen.borrow();
    assert!(seen.len() <= events.len());
    for (place, (cursor, event)) in seen.iter().enumerate() {
        assert_eq!((cursor.0, event), (place as u64 + 1, &events[place]));
    }
}

/// Every message that was accepted is in the log once, every one that was not at most once.
fn messages(world: &Rc<World>, events: &[Event]) {
    let mut stored: HashMap<&str, usize> = HashMap::new();
    for event in events {
        if let Event::MessageStored { role: Role::User, text, .. } = event {
            *stored.entry(text.as_str()).or_default() += 1;
        }
    }
    for said in world.said.borrow().iter() {
        assert_eq!(stored.get(said.text.as_str()), Some(&1), "{said:?}");
    }
    for text in world.unsure.borrow().iter() {
        assert!(stored.get(text.as_str()).is_none_or(|count| *count == 1), "{text} was doubled");
    }
}
