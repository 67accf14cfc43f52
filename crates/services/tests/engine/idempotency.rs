//! The same id twice is one run.

use std::sync::Arc;

use model::{ErrorKind, Event, RunId, RunState};
use providers::testkit::{Gate, Scripted};
use services::Limits;
use testkit::store::Fault;
use testkit::{TestGateway, soon};

use crate::rig::{A, B, COMPLETED, assistant, close, count, message, named, outcome, user};

async fn accepted_count(gateway: &TestGateway) -> usize {
    count(gateway, |event| matches!(event, Event::RunAccepted { .. })).await
}

#[tokio::test]
async fn a_repeated_id_is_answered_with_the_first_run_while_it_runs_and_afterwards() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "done"));
    let first = gateway.accept(named("once", A, "hello")).await.unwrap();
    assert!(!first.duplicate);
    drop(first);
    gate.reached().await;
    let second = gateway.accept(named("once", A, "hello")).await.unwrap();
    assert_eq!((second.duplicate, second.run.state, second.start.is_none()), (true, RunState::Running, true));
    gate.open();
    gateway.ended(&RunId::trusted("once")).await;
    // Whatever the message.
    let third = gateway.accept(named("once", A, "something else")).await.unwrap();
    assert_eq!((third.duplicate, third.run.state), (true, RunState::Completed));
    // A message of another session must not be taken for answered.
    let other = gateway.accept(named("once", B, "something else")).await;
    assert_eq!(other.err().map(|error| error.kind), Some(ErrorKind::Conflict));
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("done")]);
    assert_eq!(gateway.messages(B).await, []);
    assert_eq!(accepted_count(&gateway).await, 1);
    assert_eq!(outcome(&gateway, &third.run.id).await, COMPLETED);
    // A repeated id leaves no trace in the queue.
    gateway.ended(&gateway.say(B, "on we go").await).await;
    close(gateway).await;
}

#[tokio::test]
async fn two_at_the_same_time_are_one() {
    let gateway = TestGateway::start().await;
    gateway.store.hold();
    let tasks = ["hello", "hello"].map(|text| {
        let services = Arc::clone(&gateway.services);
        tokio::spawn(async move {
            services.runs.accept(&model::Principal::gateway(), named("once", A, text)).await.map(|done| done.duplicate)
        })
    });
    soon("a write", gateway.store.reached(1)).await;
    gateway.store.let_go();
    let mut duplicates = Vec::new();
    for task in tasks {
        duplicates.push(task.await.unwrap().unwrap());
    }
    duplicates.sort_unstable();
    assert_eq!(duplicates, [false, true]);
    gateway.idle().await;
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("hello")]);
    assert_eq!(accepted_count(&gateway).await, 1);
    close(gateway).await;
}

#[tokio::test]
async fn an_id_is_known_after_a_restart() {
    let mut gateway = TestGateway::start().await;
    drop(gateway.accept(named("done", A, "hello")).await.unwrap());
    gateway.ended(&RunId::trusted("done")).await;
    let waiting = gateway.accept(named("waiting", B, "later")).await.unwrap();
    gateway.crash().await;
    drop(waiting);
    for (id, session) in [("done", A), ("waiting", B)] {
        let again = gateway.accept(named(id, session, "again")).await.unwrap();
        assert!(again.duplicate, "{id}");
    }
    gateway.idle().await;
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("hello")]);
    assert_eq!(gateway.messages(B).await, [user("later"), assistant("later")]);
    assert_eq!(accepted_count(&gateway).await, 2);
    close(gateway).await;
}

#[tokio::test]
async fn a_repeated_id_is_known_even_when_the_queue_is_full() {
    let gateway = TestGateway::builder().limits(Limits { session_queue: 1, ..Limits::default() }).start().await;
    let gate = Gate::new();
    drop(gateway.accept(named("early", A, "hello")).await.unwrap());
    gateway.ended(&RunId::trusted("early")).await;
    gateway.provider.push(Scripted::held(&gate, "done"));
    gateway.say(A, "active").await;
    gate.reached().await;
    drop(gateway.accept(named("waiting", A, "waiting")).await.unwrap());
    for id in ["early", "waiting"] {
        let again = gateway.accept(named(id, A, "again")).await.unwrap();
        assert!(again.duplicate, "{id}");
    }
    assert!(gateway.accept(named("new", A, "too many")).await.is_err());
    gate.open();
    close(gateway).await;
}

#[tokio::test]
async fn an_id_that_could_not_be_written_down_is_free_again() {
    let gateway = TestGateway::start().await;
    gateway.store.set_fault(Fault::FailCommit);
    assert!(gateway.accept(named("once", A, "hello")).await.is_err());
    gateway.store.set_fault(Fault::None);
    let second = gateway.accept(named("once", A, "hello")).await.unwrap();
    assert_eq!((second.duplicate, second.pending), (false, false));
    drop(second);
    assert_eq!(outcome(&gateway, &RunId::trusted("once")).await, COMPLETED);
    assert!(!gateway.accept(message(A, "next")).await.unwrap().duplicate);
    close(gateway).await;
}
