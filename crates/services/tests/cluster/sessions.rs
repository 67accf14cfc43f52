//! Whose a session is: one turn at a time, whatever node a message comes to.

use model::{Event, RunOutcome, RunState, StopCause};
use providers::testkit::{Gate, Scripted};
use services::runs::Responded;
use services::sessions::CompactOptions;
use testkit::soon;

use crate::pair::{A, Pair, count, key, me, message, outcome, owner, seen};

#[tokio::test]
async fn a_message_to_a_busy_session_waits_at_the_node_that_drives_it() {
    let (pair, gate) = (Pair::start().await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "first"));
    let first = pair.one.say(A, "one").await;
    gate.reached().await;
    let accepted = pair.two.accept(message(A, "two")).await.unwrap();
    assert!(accepted.pending && accepted.run.owner == me(&pair.one));
    let second = accepted.run.id.clone();
    drop(accepted.start);
    assert_eq!(pair.two.services.runs.active_of(&key(A)), [first.clone(), second.clone()]);
    assert_eq!(pair.two.services.runs.get(&first).await.unwrap().unwrap().state, RunState::Running);
    gate.open();
    for run in [&first, &second] {
        for gateway in [&pair.one, &pair.two] {
            assert!(matches!(outcome(gateway, run).await, RunOutcome::Completed { .. }));
        }
        assert_eq!(owner(&pair.two, run).await, me(&pair.one));
    }
    // The session is free: it goes to whoever is spoken to.
    let third = pair.two.say(A, "three").await;
    pair.two.ended(&third).await;
    assert_eq!(owner(&pair.two, &third).await, me(&pair.two));
    assert_eq!(pair.one.provider.requests().len() + pair.two.provider.requests().len(), 3);
    pair.end().await;
}

#[tokio::test]
async fn one_turn_at_a_time_though_both_nodes_are_spoken_to_at_once() {
    let pair = Pair::start().await;
    let mut runs = Vec::new();
    for number in 0..12 {
        let (one, two) = (message(A, &format!("one {number}")), message(A, &format!("two {number}")));
        let (one, two) = tokio::join!(pair.one.accept(one), pair.two.accept(two));
        runs.extend([one.unwrap(), two.unwrap()].map(|accepted| accepted.run.id.clone()));
    }
    for run in &runs {
        outcome(&pair.one, run).await;
    }
    let mut active = None;
    for stored in pair.one.events().await {
        match stored.event {
            Event::RunStarted { run, .. } => {
                assert_eq!(active.replace(run.run_id), None, "a second run starts while one is active");
            }
            Event::RunEnded { run, .. } => assert_eq!(active.take(), Some(run.run_id)),
            _ => {}
        }
    }
    pair.end().await;
}

#[tokio::test]
async fn a_message_with_a_known_id_is_the_same_run_on_every_node() {
    let pair = Pair::start().await;
    let named = |text| services::runs::NewRun { id: Some(model::RunId::trusted("mine")), ..message(A, text) };
    let first = pair.one.accept(named("hello")).await.unwrap();
    drop(first.start);
    let again = pair.two.accept(named("hello")).await.unwrap();
    assert!(again.duplicate && again.start.is_none());
    outcome(&pair.two, &first.run.id).await;
    assert!(pair.two.accept(named("hello")).await.unwrap().duplicate);
    assert_eq!(count(&pair.two, |stored| matches!(stored.event, Event::RunAccepted { .. })).await, 1);
    pair.end().await;
}

#[tokio::test]
async fn a_full_queue_is_full_on_every_node() {
    let limits = services::Limits { session_queue: 2, ..services::Limits::default() };
    let build = || testkit::TestGateway::builder().limits(limits.clone());
    let (pair, gate) = (Pair::start_with(build, std::time::Duration::from_secs(60)).await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "first"));
    let first = pair.one.say(A, "one").await;
    gate.reached().await;
    let (second, third) = (pair.two.say(A, "two").await, pair.two.say(A, "three").await);
    let refused = pair.two.accept(message(A, "four")).await.err().expect("the queue is full");
    assert_eq!(refused.kind, model::ErrorKind::Busy);
    let only_when_free = services::runs::NewRun { only_when_free: true, ..message(A, "five") };
    assert_eq!(pair.two.accept(only_when_free).await.err().unwrap().kind, model::ErrorKind::Busy);
    gate.open();
    for run in [first, second, third] {
        outcome(&pair.two, &run).await;
    }
    pair.end().await;
}

#[tokio::test]
async fn a_run_is_cancelled_from_another_node_while_it_runs_and_while_it_waits() {
    let (pair, gate) = (Pair::start().await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "first"));
    let active = pair.one.say(A, "one").await;
    gate.reached().await;
    let waiting = pair.one.say(A, "two").await;
    seen(
        &pair.two,
        "the second message",
        |event| matches!(event, Event::RunAccepted { run, .. } if run.run_id == waiting),
    )
    .await;
    for run in [&waiting, &active] {
        let cancelled = pair.two.services.runs.cancel(run, StopCause::User).await.unwrap();
        assert!(cancelled.changed);
        for gateway in [&pair.one, &pair.two] {
            assert_eq!(outcome(gateway, run).await, RunOutcome::Cancelled { cause: StopCause::User });
        }
    }
    let again = pair.two.services.runs.cancel(&active, StopCause::User).await.unwrap();
    assert!(!again.changed && again.run.state == RunState::Cancelled);
    pair.one.provider.wait_for_dropped(1).await;
    pair.end().await;
}

#[tokio::test]
async fn follow_up_input_and_answers_reach_a_run_from_another_node() {
    let pair = Pair::start().await;
    pair.one.provider.push(Scripted::tool_calls([("c1", "ask_user", serde_json::json!({ "prompt": "which?" }))]));
    let run = pair.one.say(A, "choose").await;
    seen(&pair.two, "the question", |event| matches!(event, Event::InputRequested { .. })).await;
    assert!(pair.two.services.runs.live(&run).unwrap().run.awaiting.is_some());
    assert_eq!(pair.two.services.runs.respond(&run, "the left one").await.unwrap(), Responded::Delivered);
    assert!(matches!(outcome(&pair.two, &run).await, RunOutcome::Completed { .. }));
    let asked = pair.one.provider.requests().last().unwrap().messages.clone();
    assert!(asked.iter().any(|message| message.content.text().contains("the left one")), "{asked:?}");
    assert_eq!(pair.two.services.runs.respond(&run, "late").await.unwrap(), Responded::Ended);
    pair.end().await;
}

#[tokio::test]
async fn a_reset_stops_the_run_of_another_node_and_a_compaction_waits_for_it() {
    let (pair, gate) = (Pair::start().await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "first"));
    let first = pair.one.say(A, "one").await;
    gate.reached().await;
    let busy = pair.two.services.runs.compact_now(&key(A), CompactOptions::default()).await;
    assert_eq!(busy.err().map(|error| error.kind), Some(model::ErrorKind::Busy));
    let before = pair.two.services.sessions.get(&key(A)).await.unwrap().unwrap().id;
    let fresh = soon("the reset", pair.two.services.runs.reset_session(&key(A), "test")).await.unwrap();
    assert_ne!(fresh.id, before);
    assert_eq!(outcome(&pair.two, &first).await, RunOutcome::Cancelled { cause: StopCause::SessionReset });
    // The hold is gone again.
    let next = pair.one.say(A, "two").await;
    pair.one.ended(&next).await;
    assert_eq!(pair.two.messages(A).await.len(), 2, "the new transcript has the new turn alone");
    pair.end().await;
}

#[tokio::test]
async fn what_is_accepted_while_a_session_is_held_waits_at_the_holder() {
    let (pair, gate) = (Pair::start().await, Gate::new());
    let first = pair.one.say(A, "one").await;
    pair.one.ended(&first).await;
    outcome(&pair.two, &first).await;
    // A compaction asks the model for a summary: the session is held meanwhile.
    pair.two.provider.push(Scripted::held(&gate, "[]"));
    let runs = std::sync::Arc::clone(&pair.two.services.runs);
    let options = CompactOptions { keep_recent: Some(0), ..CompactOptions::default() };
    let compacting = tokio::spawn(async move { runs.compact(&key(A), options).await });
    gate.reached().await;
    let accepted = pair.one.accept(message(A, "two")).await.unwrap();
    assert!(accepted.pending && accepted.run.owner == me(&pair.two));
    let second = accepted.run.id.clone();
    drop(accepted.start);
    gate.open();
    soon("the compaction", compacting).await.unwrap().unwrap();
    assert!(matches!(outcome(&pair.one, &second).await, RunOutcome::Completed { .. }));
    pair.end().await;
}
