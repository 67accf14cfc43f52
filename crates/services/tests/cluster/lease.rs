//! A node that dies, leaves, or comes back too late.

use model::{Event, RunOutcome, RunState, StopCause};
use providers::testkit::{Gate, Scripted};
use testkit::soon;

use crate::pair::{A, Pair, count, me, outcome, owner, seen};

#[tokio::test]
async fn runs_of_a_dead_node_are_taken_over_and_end_once() {
    let (mut pair, gate) = (Pair::short_lived().await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "never heard"));
    let active = pair.one.say(A, "one").await;
    gate.reached().await;
    let waiting = pair.one.say(A, "two").await;
    pair.one.die().await;
    for run in [&active, &waiting] {
        assert!(matches!(outcome(&pair.two, run).await, RunOutcome::Completed { .. }));
        assert_eq!(owner(&pair.two, run).await, me(&pair.two));
    }
    assert_eq!(count(&pair.two, |stored| matches!(stored.event, Event::RunTakenOver { .. })).await, 2);
    assert_eq!(count(&pair.two, |stored| matches!(stored.event, Event::NodeLeft { lost: true, .. })).await, 1);
    let starts =
        count(&pair.two, |stored| matches!(&stored.event, Event::RunStarted { run, .. } if run.run_id == active));
    assert_eq!(starts.await, 1, "what was told is not told again");
    pair.end().await;
}

#[tokio::test]
async fn a_cancel_that_a_dead_node_never_heard_of_is_carried_out_by_its_heir() {
    let (mut pair, gate) = (Pair::short_lived().await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "never heard"));
    let run = pair.one.say(A, "one").await;
    gate.reached().await;
    seen(&pair.two, "the start", |event| matches!(event, Event::RunStarted { .. })).await;
    pair.one.die().await;
    assert!(pair.two.services.runs.cancel(&run, StopCause::User).await.unwrap().changed);
    assert_eq!(outcome(&pair.two, &run).await, RunOutcome::Cancelled { cause: StopCause::User });
    assert_eq!(pair.two.provider.requests().len(), 0, "its model is not asked again");
    pair.end().await;
}

#[tokio::test]
async fn a_node_that_was_frozen_comes_back_and_writes_nothing() {
    let (pair, gate) = (Pair::short_lived().await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "from the dead"));
    let run = pair.one.say(A, "one").await;
    gate.reached().await;
    // Everything that it writes hangs, its beats too.
    pair.one.store.hold();
    assert!(matches!(outcome(&pair.two, &run).await, RunOutcome::Completed { .. }));
    gate.open();
    let before = pair.two.messages(A).await;
    pair.one.store.let_go();
    soon("the news that it was replaced", pair.one.services.cluster.fenced_off()).await;
    let refused = pair.one.accept(crate::pair::message(A, "late")).await.err().expect("it may write no more");
    assert_eq!(refused.kind, model::ErrorKind::Unavailable);
    assert_eq!(pair.two.messages(A).await, before);
    let stored = pair.two.services.runs.get(&run).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.owner), (RunState::Completed, me(&pair.two)));
    assert_ne!(stored.response.as_deref(), Some("from the dead"));
    pair.end().await;
}

#[tokio::test]
async fn a_node_that_says_goodbye_is_followed_at_once() {
    // A lease so long that nobody waits for its end.
    let (mut pair, gate) = (Pair::start().await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "unheard"));
    let run = pair.one.say(A, "one").await;
    gate.reached().await;
    pair.one.leave().await;
    assert!(matches!(outcome(&pair.two, &run).await, RunOutcome::Completed { .. }));
    assert_eq!(count(&pair.two, |stored| matches!(stored.event, Event::NodeLeft { lost: false, .. })).await, 1);
    pair.end().await;
}

#[tokio::test]
async fn a_node_that_starts_again_takes_up_its_own_runs_at_once() {
    let (mut pair, gate) = (Pair::start().await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "unheard"));
    let run = pair.one.say(A, "one").await;
    gate.reached().await;
    let before = me(&pair.one);
    pair.one.crash().await;
    assert!(me(&pair.one) > before);
    assert!(matches!(outcome(&pair.two, &run).await, RunOutcome::Completed { .. }));
    pair.end().await;
}

#[tokio::test]
async fn the_runs_of_a_living_node_are_nobody_elses_however_its_wall_clock_jumps() {
    let (pair, gate) = (Pair::short_lived().await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "done"));
    let run = pair.one.say(A, "one").await;
    gate.reached().await;
    for jump in [3_600_000, -7_200_000, 3_600_000] {
        pair.two.clock().advance_ms(jump);
        pair.one.clock().advance_ms(-jump);
        let beats = |gateway: &testkit::TestGateway| {
            let services = std::sync::Arc::clone(&gateway.services);
            async move { services.cluster.status().await.unwrap().members.len() }
        };
        assert_eq!((beats(&pair.one).await, beats(&pair.two).await), (2, 2));
    }
    gate.open();
    assert!(matches!(outcome(&pair.two, &run).await, RunOutcome::Completed { .. }));
    assert_eq!(owner(&pair.two, &run).await, me(&pair.one));
    assert_eq!(count(&pair.two, |stored| matches!(stored.event, Event::NodeLeft { .. })).await, 0);
    pair.end().await;
}
