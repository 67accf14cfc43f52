//! The promises of the event log, checked over all of it.

use std::collections::{BTreeMap, BTreeSet};

use model::{Event, RunId, RunOutcome};
use store::StoredEvent;

/// What the log says of one run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunStory {
    pub accepted: u32,
    pub started: u32,
    pub ended: Vec<RunOutcome>,
}

/// The runs of a log, by id.
pub fn stories(events: &[StoredEvent]) -> BTreeMap<RunId, RunStory> {
    let mut stories: BTreeMap<RunId, RunStory> = BTreeMap::new();
    for stored in events {
        let Some(run) = stored.event.run() else { continue };
        let story = stories.entry(run.run_id.clone()).or_default();
        match &stored.event {
            Event::RunAccepted { .. } => story.accepted += 1,
            Event::RunStarted { .. } => story.started += 1,
            Event::RunEnded { outcome, .. } => story.ended.push(outcome.clone()),
            _ => {}
        }
    }
    stories
}

/// What is wrong with a log whose runs are all over; empty when nothing is.
///
/// Cursors are 1, 2, 3 … Each run that was accepted ends exactly once, as its last event; it is
/// started at most once, and `started` of its end says whether. Its `seq` rises. Every tool that
/// began ends before the run does, and no tool ends that did not begin.
pub fn faults(events: &[StoredEvent]) -> Vec<String> {
    let mut faults = cursor_faults(events);
    for (id, story) in stories(events) {
        // A run of an ephemeral session tells of its end alone.
        let is_ephemeral = story.accepted == 0;
        if story.accepted > 1
            || story.started > 1
            || (story.ended.len() != 1 && !(is_ephemeral && story.ended.is_empty()))
        {
            faults.push(format!(
                "run {id} was accepted {} times, started {} times, ended {:?}",
                story.accepted, story.started, story.ended
            ));
        }
        faults.extend(order_faults(&id, events));
    }
    faults
}

/// # Panics
/// With all faults of the log.
pub fn assert_sound(events: &[StoredEvent]) {
    let faults = faults(events);
    assert!(faults.is_empty(), "the event log breaks its promises:\n{}\n\n{}", faults.join("\n"), listed(events));
}

fn cursor_faults(events: &[StoredEvent]) -> Vec<String> {
    let misplaced = (1_u64..).zip(events).filter(|(wanted, stored)| stored.cursor.0 != *wanted);
    misplaced
        .map(|(wanted, stored)| format!("cursor {} stands where {wanted} should", stored.cursor.0))
        .take(1)
        .collect()
}

fn order_faults(id: &RunId, events: &[StoredEvent]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut open = BTreeSet::new();
    let (mut is_over, mut was_started, mut last_seq) = (false, false, None);
    for event in
        events.iter().map(|stored| &stored.event).filter(|event| event.run().is_some_and(|run| run.run_id == *id))
    {
        if is_over {
            faults.push(format!("run {id} goes on after its end: {event:?}"));
        }
        match event {
            Event::RunStarted { .. } => was_started = true,
            Event::ToolStarted { call_id, .. } if !open.insert(call_id.clone()) => {
                faults.push(format!("run {id} begins tool call {call_id} while it is open"));
            }
            Event::ToolEnded { call_id, .. } if !open.remove(call_id) => {
                faults.push(format!("run {id} ends tool call {call_id}, which is not open"));
            }
            Event::RunEnded { started, .. } => {
                is_over = true;
                if *started != was_started {
                    faults.push(format!("run {id} says started = {started} at its end"));
                }
                if !open.is_empty() {
                    faults.push(format!("run {id} ends with open tool calls {open:?}"));
                }
            }
            _ => {}
        }
        if let Some(seq) = seq_of(event) {
            if last_seq.is_some_and(|last| seq <= last) {
                faults.push(format!("run {id} has seq {seq} after {last_seq:?}"));
            }
            last_seq = Some(seq);
        }
    }
    faults
}

const fn seq_of(event: &Event) -> Option<u64> {
    match event {
        Event::RunStarted { seq, .. }
        | Event::ToolStarted { seq, .. }
        | Event::ToolEnded { seq, .. }
        | Event::RunEnded { seq, .. } => Some(*seq),
        _ => None,
    }
}

fn listed(events: &[StoredEvent]) -> String {
    events.iter().map(|stored| format!("{:>4} {:?}", stored.cursor.0, stored.event)).collect::<Vec<_>>().join("\n")
}
