//! The log of events and its cursors.

use std::sync::Arc;

use model::{
    Cursor, EndReason, Event, Fence, InputId, MessageId, Role, RunId, RunOutcome, RunRef, SessionId, StopCause,
    TextSoFar, TokenId, ToolCall, Usage,
};
use tokio::task::JoinSet;

use super::place::{Dice, Heard, Reopen, Undone, read, write};
use super::rows::{agent, at, big_text, cursors, event, key, odd_text};
use crate::{LogBounds, Store, StoreError, StoredEvent};

pub async fn an_empty_log_has_bounds(place: &dyn Reopen) {
    let store = place.open().await;
    let bounds = read(&store, |snapshot| snapshot.events().bounds()).await;
    assert_eq!(bounds, LogBounds { oldest: Cursor(1), newest: Cursor(0) });
    assert_eq!(read(&store, |snapshot| snapshot.events().after(Cursor(0), 10)).await, []);
}

pub async fn every_durable_event_comes_back_whole(place: &dyn Reopen) {
    let store = place.open().await;
    let heard = Arc::new(Heard::default());
    store.announce_to(heard.clone());
    let events = durable_events();
    let expected: Vec<StoredEvent> = (1..)
        .zip(&events)
        .map(|(cursor, event)| StoredEvent { cursor: Cursor(cursor), at: at(-5), event: event.clone() })
        .collect();
    let given = write(&store, move |tx| {
        events.iter().map(|event| tx.events_mut().append(at(-5), event)).collect::<Result<Vec<_>, _>>()
    })
    .await;
    assert_eq!(given, cursors(1, expected.len() as u64));
    assert_eq!(read(&store, |snapshot| snapshot.events().after(Cursor(0), 1000)).await, expected);
    assert_eq!(heard.all(), expected);
}

fn durable_events() -> Vec<Event> {
    let session_key = key("agent:main:telegram:group:-5:thread:日本");
    let run = RunRef {
        run_id: RunId::trusted("run_\"1\" 🦀"),
        session_key: session_key.clone(),
        agent_id: agent("main"),
        quiet: true,
    };
    let loud = RunRef { quiet: false, ..run.clone() };
    let ended = |outcome, started| Event::RunEnded {
        run: loud.clone(),
        seq: u64::MAX,
        started,
        outcome,
        response: odd_text(),
        model: started.then(|| String::from("mock/echo")),
        usage: Usage { input: 1, output: 2, cache_read: 3, cache_write: 4, reasoning: 5 },
        iterations: u32::MAX,
        tool_calls: 3,
        duration_ms: 7,
        client_calls: vec![ToolCall { id: odd_text(), name: String::from("look"), arguments: odd_text() }],
    };
    vec![
        Event::SessionCreated { session_key: session_key.clone(), channel: String::new() },
        Event::SessionDeleted { session_key: session_key.clone(), messages_removed: u64::MAX },
        Event::SessionReset {
            session_key: session_key.clone(),
            session_id: SessionId::trusted("ses_1"),
            reason: odd_text(),
        },
        Event::SessionCompacted {
            session_key: session_key.clone(),
            tokens_before: 2,
            tokens_after: 1,
            facts_extracted: 0,
            automatic: true,
        },
        Event::MessageStored {
            session_key,
            message_id: MessageId::trusted("msg_1"),
            message_seq: i64::MAX,
            role: Role::Tool,
            run_id: None,
            text: big_text(),
        },
        Event::RunAccepted {
            run: run.clone(),
            message_id: MessageId::trusted("msg_2"),
            text: odd_text(),
            origin: "comis".into(),
            pending: true,
            owner: Fence(7),
        },
        Event::RunStarted { run: run.clone(), seq: 0, model: String::from("mock/echo") },
        Event::ToolStarted {
            run: run.clone(),
            seq: 1,
            call_id: "call_1".into(),
            name: "shell".into(),
            arguments: odd_text(),
        },
        Event::ToolEnded {
            run: run.clone(),
            seq: 2,
            call_id: "call_1".into(),
            name: "shell".into(),
            result: odd_text(),
            is_error: true,
            duration_ms: 12,
        },
        Event::InputAccepted { run: run.clone(), input_id: InputId::trusted("inp_2"), by: Fence(3) },
        Event::StopAsked { run: run.clone(), cause: StopCause::StopCommand, by: Fence(0) },
        Event::RunTakenOver { run: run.clone(), from: Fence(1), to: Fence(u64::MAX), node: odd_text() },
        Event::InputRequested {
            run,
            input_id: InputId::trusted("inp_1"),
            prompt: "?".into(),
            options: vec![odd_text(), String::new()],
        },
        ended(RunOutcome::Completed { reason: EndReason::ContentFilter }, true),
        ended(RunOutcome::Cancelled { cause: StopCause::ClientGone }, false),
        ended(RunOutcome::Failed { kind: "provider_failed".into(), message: odd_text() }, true),
        Event::TokenCreated { token_id: TokenId::trusted("tok_1") },
        Event::NodeJoined { node: odd_text(), fence: Fence(2) },
        Event::NodeLeft { node: String::from("a"), fence: Fence(2), lost: true },
        Event::TokenRevoked { token_id: TokenId::trusted("tok_1") },
        Event::ConfigChanged { changed_keys: vec!["gateway.port".into()], source: "rpc".into() },
        Event::ConfigReloaded { changed_keys: Vec::new(), source: "file".into() },
    ]
}

pub async fn an_event_that_is_not_durable_is_refused(place: &dyn Reopen) {
    let store = place.open().await;
    let run = RunRef {
        run_id: RunId::trusted("run_1"),
        session_key: key("agent:main:main"),
        agent_id: agent("main"),
        quiet: false,
    };
    let delta = Event::RunDelta { run, seq: 1, index: 0, text: "Hi".into(), so_far: TextSoFar::new().push("Hi") };
    for event in [delta, Event::HealthChanged { version: 1 }] {
        let refused = store.write(move |tx| tx.events_mut().append(at(1), &event)).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    assert_eq!(write(&store, |tx| tx.events_mut().append(at(1), &event(1))).await, Cursor(1));
}

pub async fn pages_of_the_log_are_in_order(place: &dyn Reopen) {
    let store = place.open().await;
    append(&store, 1..=25, 1).await;
    let page = |after: u64, limit| {
        let store = Arc::clone(&store);
        async move {
            let events = read(&store, move |snapshot| snapshot.events().after(Cursor(after), limit)).await;
            events.into_iter().map(|stored| (stored.cursor, stored.event)).collect::<Vec<_>>()
        }
    };
    let expected = |from: u64, to: u64| (from..=to).map(|number| (Cursor(number), event(number))).collect::<Vec<_>>();
    assert_eq!(page(0, 10).await, expected(1, 10));
    assert_eq!(page(10, 10).await, expected(11, 20));
    assert_eq!(page(20, 10).await, expected(21, 25));
    assert_eq!(page(25, 10).await, []);
    assert_eq!(page(0, 0).await, []);
    assert_eq!(page(u64::MAX, 10).await, []);
    assert_eq!(page(0, u32::MAX).await, expected(1, 25));
}

pub async fn cursors_are_contiguous_and_announced_in_order_under_load(place: &dyn Reopen) {
    let store = place.open().await;
    let heard = Arc::new(Heard::default());
    store.announce_to(heard.clone());
    let seed = 20_261;
    let mut tasks = JoinSet::new();
    for task in 0..32_u64 {
        let (store, heard) = (Arc::clone(&store), Arc::clone(&heard));
        tasks.spawn(async move {
            let mut dice = Dice::new(seed + task);
            let mut mine = Vec::new();
            for step in 0..40 {
                let (count, fate) = (dice.roll(4), dice.roll(4));
                let first = task * 100_000 + step * 10;
                let written = store
                    .write(move |tx| -> Result<Vec<Cursor>, Undone> {
                        let given = (first..first + count)
                            .map(|number| tx.events_mut().append(at(1), &event(number)))
                            .collect::<Result<Vec<_>, _>>()?;
                        assert!(fate != 0, "the unit panics on purpose");
                        if fate == 1 { Err(Undone::OnPurpose) } else { Ok(given) }
                    })
                    .await;
                let Ok(given) = written else {
                    assert!(fate < 2, "seed {seed}, task {task}: {written:?}");
                    continue;
                };
                assert!(fate >= 2, "seed {seed}, task {task}");
                let expected: Vec<StoredEvent> = (first..)
                    .zip(&given)
                    .map(|(number, cursor)| StoredEvent { cursor: *cursor, at: at(1), event: event(number) })
                    .collect();
                let announced: Vec<StoredEvent> =
                    heard.all().into_iter().filter(|stored| given.contains(&stored.cursor)).collect();
                assert_eq!(
                    announced, expected,
                    "seed {seed}, task {task}: announced before the writer learns of its commit"
                );
                mine.extend(given);
            }
            mine
        });
    }
    let mut given: Vec<Cursor> = tasks.join_all().await.into_iter().flatten().collect();
    given.sort_unstable();
    let log = read(&store, |snapshot| snapshot.events().after(Cursor(0), u32::MAX)).await;
    assert_eq!(given, cursors(1, log.len() as u64), "seed {seed}: no gap, no repeat");
    assert_eq!(heard.all(), log, "seed {seed}: what was announced is the log");
    assert_eq!(log.iter().map(|stored| stored.cursor).collect::<Vec<_>>(), given, "seed {seed}");
}

pub async fn pruning_removes_the_oldest_and_never_reuses_a_cursor(place: &dyn Reopen) {
    let store = place.open().await;
    append(&store, 1..=10, 1).await;
    append(&store, 11..=20, 100).await;
    let none = u64::MAX;
    assert_eq!(prune(&store, 1, none).await, (0, 1, 20), "nothing is that old");
    assert_eq!(prune(&store, 100, none).await, (10, 11, 20), "by age");
    assert_eq!(prune(&store, 0, 3).await, (7, 18, 20), "by number");
    assert_eq!(prune(&store, 0, 3).await, (0, 18, 20), "already done");
    append(&store, 21..=22, 100).await;
    assert_eq!(prune(&store, 1000, none).await, (5, 23, 22), "all of it");
    assert_eq!(read(&store, |snapshot| snapshot.events().after(Cursor(0), 10)).await, []);

    store.close().await;
    drop(store);
    let store = place.open().await;
    assert_eq!(prune(&store, 1000, 0).await, (0, 23, 22), "the place is known after a restart");
    assert_eq!(write(&store, |tx| tx.events_mut().append(at(1), &event(23))).await, Cursor(23));
    let bounds = read(&store, |snapshot| snapshot.events().bounds()).await;
    assert_eq!(bounds, LogBounds { oldest: Cursor(23), newest: Cursor(23) });
}

pub async fn pruning_leaves_no_hole(place: &dyn Reopen) {
    let store = place.open().await;
    for (number, ms) in [(1, 10), (2, 10), (3, 90), (4, 10), (5, 90)] {
        append(&store, number..=number, ms).await;
    }
    assert_eq!(prune(&store, 50, u64::MAX).await, (2, 3, 5), "an old event after a young one stays");
    let log = read(&store, |snapshot| snapshot.events().after(Cursor(0), 10)).await;
    assert_eq!(log.iter().map(|stored| stored.cursor).collect::<Vec<_>>(), cursors(3, 5));
}

pub async fn an_undone_pruning_removes_nothing(place: &dyn Reopen) {
    let store = place.open().await;
    append(&store, 1..=5, 1).await;
    let undone = store
        .write(|tx| -> Result<(), Undone> {
            tx.events_mut().prune(at(1000), 0)?;
            tx.events_mut().append(at(1), &event(6))?;
            Err(Undone::OnPurpose)
        })
        .await;
    assert!(matches!(undone, Err(Undone::OnPurpose)), "{undone:?}");
    let bounds = read(&store, |snapshot| snapshot.events().bounds()).await;
    assert_eq!(bounds, LogBounds { oldest: Cursor(1), newest: Cursor(5) });
    assert_eq!(write(&store, |tx| tx.events_mut().append(at(1), &event(6))).await, Cursor(6));
}

pub async fn the_events_of_a_run_are_found_by_its_id_alone(place: &dyn Reopen) {
    let store = place.open().await;
    let id = r#"run_"1" 🦀"#;
    let events = durable_events();
    write(&store, move |tx| {
        // Words that look like the id of a run, in a text.
        let decoy = format!("\"run_id\":{}", serde_json::Value::from(id));
        tx.events_mut().append(at(1), &Event::ConfigChanged { changed_keys: vec![decoy], source: "x".into() })?;
        events.iter().try_for_each(|event| tx.events_mut().append(at(1), event).map(drop))
    })
    .await;
    let found = read(&store, move |snapshot| snapshot.events().of_run(&RunId::trusted(id), 100)).await;
    let log = read(&store, |snapshot| snapshot.events().after(Cursor(0), 100)).await;
    let expected: Vec<StoredEvent> = log.into_iter().filter(|stored| stored.event.run().is_some()).collect();
    assert_eq!(found, expected);
    let first = read(&store, move |snapshot| snapshot.events().of_run(&RunId::trusted(id), 1)).await;
    assert_eq!(first, expected[..1]);
    assert_eq!(read(&store, |snapshot| snapshot.events().of_run(&RunId::trusted("run_%"), 100)).await, []);
}

async fn append(store: &Arc<dyn Store>, numbers: std::ops::RangeInclusive<u64>, ms: i64) {
    write(store, move |tx| -> Result<(), StoreError> {
        for number in numbers {
            assert_eq!(tx.events_mut().append(at(ms), &event(number))?, Cursor(number));
        }
        Ok(())
    })
    .await;
}

/// How many were removed, and the bounds after.
async fn prune(store: &Arc<dyn Store>, before_ms: i64, keep_max: u64) -> (u64, u64, u64) {
    let removed = write(store, move |tx| tx.events_mut().prune(at(before_ms), keep_max)).await;
    let bounds = read(store, |snapshot| snapshot.events().bounds()).await;
    (removed, bounds.oldest.0, bounds.newest.0)
}
