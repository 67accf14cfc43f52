//! A database that refuses, fails and comes back.

use std::sync::Arc;

use futures_util::future::join_all;
use model::{ErrorKind, StopCause};
use providers::testkit::{Gate, Scripted};
use services::runs::NewRun;
use testkit::store::Fault;
use testkit::{TestGateway, soon};

use crate::rig::{A, COMPLETED, assistant, calls_work, cancelled, close, message, outcome, tool, user};
use crate::tool::{Nature, Work};

const FAULTS: [Fault; 2] = [Fault::Refuse, Fault::FailCommit];

#[tokio::test]
async fn a_message_that_cannot_be_written_down_is_refused_and_leaves_nothing() {
    let gateway = TestGateway::start().await;
    let before = gateway.contents().await;
    for fault in FAULTS {
        gateway.store.set_fault(fault);
        let refused = gateway.accept(message(A, "hello")).await.err().unwrap();
        assert_eq!(refused.kind, ErrorKind::Unavailable, "{fault:?}");
        assert_eq!(gateway.contents().await, before, "{fault:?}");
        assert_eq!(gateway.services.runs.unfinished_count(), 0);
    }
    gateway.store.set_fault(Fault::None);
    let eager = NewRun { only_when_free: true, ..message(A, "hello") };
    let run = gateway.accept(eager).await.unwrap().run.id.clone();
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    close(gateway).await;
}

/// A run with a tool writes its start, its step, the tool's start and end, and its own end. After
/// `spared` of these the database is away for a while.
async fn away_after(spared: u64, fault: Fault) {
    let work = Work::new(Nature::Heeding);
    work.finish();
    let gateway = TestGateway::builder().tool(work).start().await;
    gateway.provider.push(calls_work("c1"));
    gateway.provider.push(Scripted::text("done"));
    let accepted = gateway.accept(message(A, "work")).await.unwrap();
    let (run, next) = (accepted.run.id.clone(), gateway.accept(message(A, "next")).await.unwrap().run.id.clone());
    gateway.store.set_fault_after(spared, fault);
    drop(accepted);
    // The write that fails, and the next attempt at it.
    soon("two faults", gateway.store.struck(2)).await;
    gateway.store.set_fault(Fault::None);
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    assert_eq!(outcome(&gateway, &next).await, COMPLETED);
    let said = gateway.messages(A).await;
    assert_eq!(said[..2], [user("work"), user("next")]);
    assert_eq!(said[2..], [assistant(""), tool("worked"), assistant("done"), assistant("next")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_run_ends_once_wherever_the_database_goes_away() {
    let cases = FAULTS.into_iter().flat_map(|fault| (0..5).map(move |spared| away_after(spared, fault)));
    join_all(cases).await;
}

#[tokio::test]
async fn input_that_cannot_be_stored_is_refused_and_not_told() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "done"));
    let run = gateway.say(A, "hello").await;
    gate.reached().await;
    for fault in FAULTS {
        gateway.store.set_fault(fault);
        let refused = gateway.services.runs.respond(&run, "more").await.err().unwrap();
        assert_eq!(refused.kind, ErrorKind::Unavailable);
    }
    gateway.store.set_fault(Fault::None);
    gate.open();
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("done")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_waiting_run_is_cancelled_when_the_database_is_back() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "done"));
    let (_, waiting) = (gateway.say(A, "one").await, gateway.say(A, "two").await);
    gate.reached().await;
    gateway.store.set_fault(Fault::FailCommit);
    let (services, id) = (Arc::clone(&gateway.services), waiting.clone());
    let stopping = tokio::spawn(async move { services.runs.cancel(&id, StopCause::User).await });
    soon("a fault", gateway.store.struck(1)).await;
    gateway.store.set_fault(Fault::None);
    assert!(soon("the answer", stopping).await.unwrap().unwrap().changed);
    assert_eq!(outcome(&gateway, &waiting).await, cancelled(StopCause::User));
    gate.open();
    close(gateway).await;
}

#[tokio::test]
async fn nobody_is_told_of_an_end_that_was_never_written() {
    let (mut gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "done"));
    let (_, waiting) = (gateway.say(A, "one").await, gateway.say(A, "two").await);
    gate.reached().await;
    gateway.store.set_fault(Fault::Refuse);
    let (services, id) = (Arc::clone(&gateway.services), waiting.clone());
    let stopping = tokio::spawn(async move { services.runs.cancel(&id, StopCause::User).await });
    soon("a fault", gateway.store.struck(1)).await;
    gateway.restart().await;
    let told = soon("the answer", stopping).await.unwrap();
    assert_eq!(told.err().map(|error| error.kind), Some(ErrorKind::Unavailable));
    assert_eq!(outcome(&gateway, &waiting).await, COMPLETED, "it was not cancelled, and so it goes on");
    close(gateway).await;
}
