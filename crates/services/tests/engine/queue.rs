//! One turn at a time per session, in the order of the messages.

use model::{ErrorKind, Event, OpError};
use providers::testkit::{Gate, Scripted};
use services::Limits;
use services::runs::Accepted;
use testkit::{TestGateway, soon};

use crate::rig::{A, B, COMPLETED, asked, assistant, close, count, course, key, message, outcome, user};

#[tokio::test]
async fn messages_of_a_session_are_answered_one_after_the_other() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "first"));
    let (one, two, three) = (gateway.say(A, "one").await, gateway.say(A, "two").await, gateway.say(A, "three").await);
    gate.reached().await;
    assert_eq!(gateway.services.runs.active_of(&key(A)), [one.clone(), two.clone(), three.clone()]);
    gate.open();
    gateway.idle().await;
    let ids = [&one, &two, &three].map(Clone::clone);
    let order: Vec<_> = ids.into_iter().flat_map(|id| [("started", id.clone()), ("ended", id)]).collect();
    assert_eq!(course(&gateway).await, order);
    let seen: Vec<_> = gateway.provider.requests().iter().map(asked).collect();
    let first = vec![user("one")];
    let second = vec![user("one"), assistant("first"), user("two")];
    let third = vec![user("one"), user("two"), assistant("first"), assistant("two"), user("three")];
    assert_eq!((seen.len(), &seen[0], &seen[1]), (3, &first, &second), "what waits is not seen before its turn");
    assert_eq!(seen[2], third);
    let stored = gateway.messages(A).await;
    let answers = [assistant("first"), assistant("two"), assistant("three")];
    assert_eq!(stored, [vec![user("one"), user("two"), user("three")], answers.to_vec()].concat());
    close(gateway).await;
}

#[tokio::test]
async fn sessions_do_not_wait_for_each_other() {
    let gateway = TestGateway::start().await;
    let gates = [Gate::new(), Gate::new()];
    let mut runs = Vec::new();
    for (session, gate) in [A, B].into_iter().zip(&gates) {
        gateway.provider.push(Scripted::held(gate, "done"));
        runs.push(gateway.say(session, "hello").await);
        soon("its stream", gate.reached()).await;
    }
    assert_eq!(gateway.provider.open_streams(), 2);
    // The later one may even end first.
    gates[1].open();
    assert_eq!(outcome(&gateway, &runs[1]).await, COMPLETED);
    gates[0].open();
    for run in &runs {
        assert_eq!(outcome(&gateway, run).await, COMPLETED);
    }
    close(gateway).await;
}

fn kind(result: Result<Accepted, OpError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

#[tokio::test]
async fn a_full_queue_refuses_and_writes_nothing() {
    let gateway = TestGateway::builder().limits(Limits { session_queue: 2, ..Limits::default() }).start().await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "done"));
    for text in ["active", "second", "third"] {
        gateway.say(A, text).await;
    }
    gate.reached().await;
    let before = gateway.contents().await;
    let refused = gateway.accept(message(A, "too many")).await.err().unwrap();
    assert_eq!((refused.kind, refused.retry_after_ms), (ErrorKind::Busy, Some(1000)));
    assert_eq!(gateway.contents().await, before);
    gateway.say(B, "elsewhere").await;
    gate.open();
    gateway.idle().await;
    gateway.say(A, "now there is room").await;
    close(gateway).await;
}

#[tokio::test]
async fn who_does_not_want_to_wait_is_refused_while_the_session_is_busy() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "done"));
    let eager = || services::runs::NewRun { only_when_free: true, ..message(A, "now or never") };
    let first = gateway.accept(eager()).await.unwrap();
    assert!(!first.pending);
    assert_eq!(kind(gateway.accept(eager()).await), Some(ErrorKind::Busy), "one is written down already");
    let run = first.run.id.clone();
    drop(first);
    gate.reached().await;
    assert_eq!(kind(gateway.accept(eager()).await), Some(ErrorKind::Busy));
    gate.open();
    // Whoever hears of the end finds the session free.
    outcome(&gateway, &run).await;
    assert_eq!(kind(gateway.accept(eager()).await), None);
    close(gateway).await;
}

#[tokio::test]
async fn a_run_starts_only_when_its_answer_is_on_its_way() {
    let gateway = TestGateway::start().await;
    let first = gateway.accept(message(A, "one")).await.unwrap();
    let second = gateway.accept(message(A, "two")).await.unwrap();
    assert_eq!((first.pending, second.pending), (false, true));
    let (one, two) = (first.run.id.clone(), second.run.id.clone());
    // The second is ready before the first; the order stands.
    drop(second);
    gateway.ended(&gateway.say(B, "elsewhere").await).await;
    assert_eq!(count(&gateway, |event| matches!(event, Event::RunStarted { .. })).await, 1);
    first.start.unwrap().start();
    gateway.idle().await;
    let order = [("started", one.clone()), ("ended", one), ("started", two.clone()), ("ended", two)];
    assert_eq!(course(&gateway).await[2..], order);
    close(gateway).await;
}

#[tokio::test]
async fn a_message_whose_sender_goes_away_is_answered_all_the_same() {
    let gateway = TestGateway::start().await;
    gateway.store.hold();
    let services = std::sync::Arc::clone(&gateway.services);
    let sender = tokio::spawn(async move {
        services.runs.accept(&model::Principal::gateway(), message(A, "hello")).await.map(|_| ())
    });
    soon("the write", gateway.store.reached(1)).await;
    sender.abort();
    assert!(sender.await.is_err_and(|error| error.is_cancelled()));
    gateway.store.let_go();
    crate::rig::seen(&gateway, "an end", |event| matches!(event, Event::RunEnded { .. })).await;
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("hello")]);
    close(gateway).await;
}
