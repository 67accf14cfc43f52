//! What must hold when all is over, read from the database past all nodes.

use std::collections::{HashMap, HashSet};

use model::{Content, Event, Fence, RunId, RunOutcome, SessionKey};

use crate::clients::Said;
use crate::rig::Rig;
use crate::upstream::{ANSWER, Manner};

/// The log with its cursors.
pub fn log(rig: &Rig) -> Vec<Event> {
    let rows = rig.sql("SELECT cursor || ' ' || body FROM events ORDER BY cursor");
    let read = |(place, row): (u64, &str)| {
        let (cursor, body) = row.split_once(' ').expect("a cursor and a body");
        assert_eq!(cursor, place.to_string(), "the log has no gap");
        Event::from_stored(body).unwrap_or_else(|error| panic!("event {cursor}: {error}"))
    };
    (1..).zip(rows.lines()).map(read).collect()
}

/// Every message counted, every run ended once, nobody out of the cluster wrote, every watcher saw all.
pub fn all(rig: &Rig, said: &[Said], watched: &[Vec<u64>]) {
    let events = log(rig);
    let whole = count_ends(&events, said);
    turns(&events);
    writers(&events);
    rows(rig, whole, said);
    for seen in watched {
        saw_all(&events, seen);
    }
}

/// Each accepted run has one acceptance and one end, and nothing of it comes behind its end. Gives how
/// many ended with the whole answer.
fn count_ends(events: &[Event], said: &[Said]) -> usize {
    let mut whole = 0;
    let manners: HashMap<&str, Manner> = said.iter().map(|said| (said.run.as_str(), Manner::of(&said.text))).collect();
    let mut accepted: HashSet<&RunId> = HashSet::new();
    let mut ended: HashSet<&RunId> = HashSet::new();
    for event in events {
        let Some(run) = event.run().map(|run| &run.run_id) else { continue };
        assert!(!ended.contains(run), "something of {run} comes behind its end: {event:?}");
        match event {
            Event::RunAccepted { .. } => assert!(accepted.insert(run), "{run} is accepted twice"),
            Event::RunEnded { outcome, response, .. } => {
                assert!(accepted.contains(run), "{run} ends and was never accepted");
                let manner = manners.get(run.as_str());
                match outcome {
                    RunOutcome::Completed { .. } if manner != Some(&Manner::Vanishing) => {
                        assert_eq!(response, ANSWER, "{run}");
                        whole += 1;
                    }
                    RunOutcome::Failed { kind, .. }
                        if manner == Some(&Manner::Vanishing) && kind == "provider_failed" => {}
                    other => panic!("{run}, {manner:?}: {other:?}"),
                }
                ended.insert(run);
            }
            _ => {}
        }
    }
    let said: HashSet<&str> = said.iter().map(|said| said.run.as_str()).collect();
    let accepted: HashSet<&str> = accepted.into_iter().map(RunId::as_str).collect();
    let ended: HashSet<&str> = ended.into_iter().map(RunId::as_str).collect();
    assert_eq!(accepted, said, "what was accepted is what its speakers were told");
    assert_eq!(ended, said, "every run that was accepted has ended");
    whole
}

/// One turn at a time in each session. A run that was taken over stands in the queue again, so another
/// one may go on before it; that their order is kept is not asked here.
fn turns(events: &[Event]) {
    let mut active: HashMap<&SessionKey, &RunId> = HashMap::new();
    for event in events {
        match event {
            Event::RunStarted { run, .. } => {
                let before = active.insert(&run.session_key, &run.run_id);
                let story = || story(events, &run.session_key);
                assert_eq!(before, None, "{} starts while another run is active:{}", run.run_id, story());
            }
            Event::RunTakenOver { run, .. } | Event::RunEnded { run, .. }
                if active.get(&run.session_key) == Some(&&run.run_id) =>
            {
                active.remove(&run.session_key);
            }
            _ => {}
        }
    }
}

/// What became of a session, a line for each event, with what became of the nodes.
fn story(events: &[Event], session: &SessionKey) -> String {
    let told = (1..).zip(events).filter_map(|(cursor, event): (u64, _)| {
        let what = match event {
            Event::RunAccepted { run, owner, pending, .. } => {
                format!("{} accepted for {owner}, pending {pending}", run.run_id)
            }
            Event::RunStarted { run, .. } => format!("{} started", run.run_id),
            Event::RunTakenOver { run, from, to, .. } => format!("{} taken from {from} to {to}", run.run_id),
            Event::RunEnded { run, outcome, started, .. } => {
                format!("{} ended, started {started}: {outcome:?}", run.run_id)
            }
            Event::NodeJoined { node, fence } => format!("{node} joined as {fence}"),
            Event::NodeLeft { node, fence, lost } => format!("{node} left as {fence}, lost {lost}"),
            _ => return None,
        };
        let is_told = event.run().is_none_or(|run| run.session_key == *session);
        is_told.then(|| format!("\n{cursor:5} {what}"))
    });
    told.collect()
}

/// What is written of a run is written by a life that drives it and is in the cluster just then.
fn writers(events: &[Event]) {
    let mut members: HashMap<Fence, &str> = HashMap::new();
    let mut owners: HashMap<&RunId, Fence> = HashMap::new();
    for event in events {
        match event {
            Event::NodeJoined { node, fence } => {
                // A node that comes back is in the place of its former life.
                members.retain(|_, name| name != node);
                members.insert(*fence, node);
                continue;
            }
            Event::NodeLeft { fence, .. } => {
                members.remove(fence);
                continue;
            }
            Event::RunAccepted { run, owner, .. } => {
                owners.insert(&run.run_id, *owner);
            }
            Event::RunTakenOver { run, from, to, .. } => {
                assert!(!members.contains_key(from), "{} was taken from a node that lives: {event:?}", run.run_id);
                assert_eq!(owners.insert(&run.run_id, *to), Some(*from), "{}", run.run_id);
            }
            _ => {}
        }
        // Anybody may take a message in for the node that has its session, also for one that was just lost.
        if let Some(run) = event.run()
            && !matches!(event, Event::RunAccepted { .. })
        {
            let owner = owners.get(&run.run_id).expect("it was accepted first");
            let story = || story(events, &run.session_key);
            assert!(members.contains_key(owner), "{owner} wrote when it was out: {event:?}:{}", story());
        }
    }
}

/// The rows say the same as the log.
fn rows(rig: &Rig, whole: usize, said: &[Said]) {
    let count = |query: &str| -> HashMap<String, usize> {
        let mut counted = HashMap::new();
        for row in rig.sql(query).lines() {
            let content: Content = serde_json::from_str(row).unwrap_or_else(|error| panic!("{row}: {error}"));
            *counted.entry(content.text().into_owned()).or_default() += 1;
        }
        counted
    };
    let users = count("SELECT content FROM messages WHERE role = 'user'");
    let expected: HashMap<String, usize> = said.iter().map(|said| (said.text.clone(), 1)).collect();
    assert_eq!(users, expected, "each message stands once");
    let mut answers = count("SELECT content FROM messages WHERE role = 'assistant'");
    assert_eq!(answers.remove(ANSWER).unwrap_or(0), whole, "each completed run has one whole answer");
    // A turn that failed keeps what its client has seen; calls of tools have no text.
    answers.retain(|text, _| !text.is_empty());
    let halves: usize = answers.values().sum();
    assert!(halves <= said.len() - whole, "nothing but whole answers and calls of tools: {answers:?}");
    let runs =
        "SELECT count(*), count(*) FILTER (WHERE is_over), count(*) FILTER (WHERE state = 'completed') FROM runs";
    let expected = format!("{0}|{0}|{whole}", said.len());
    assert_eq!(rig.sql(runs), expected, "each message has one run, and it is over");
}

/// A watcher saw every change that its dialect tells of, once and in order.
fn saw_all(events: &[Event], seen: &[u64]) {
    let told = (1..).zip(events).filter(|(_, event)| {
        matches!(
            event,
            Event::RunAccepted { .. }
                | Event::RunStarted { .. }
                | Event::ToolEnded { .. }
                | Event::RunEnded { .. }
                | Event::MessageStored { .. }
        )
    });
    let seen: HashSet<u64> = seen.iter().copied().collect();
    let missed: Vec<(u64, &Event)> = told.filter(|(cursor, _)| !seen.contains(cursor)).collect();
    assert!(missed.is_empty(), "a watcher missed {missed:?}");
}
