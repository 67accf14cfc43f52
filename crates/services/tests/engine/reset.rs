//! Changing a session as a whole while runs of it are active or wait.

use std::sync::Arc;

use model::{ErrorKind, Event, NewMessage, RunId, RunState, StopCause};
use providers::testkit::{Gate, Scripted};
use services::runs::Responded;
use services::sessions::CompactOptions;
use testkit::{TestGateway, soon};
use tokio::task::JoinHandle;

use crate::rig::{
    A, COMPLETED, assistant, calls_work, cancelled, close, count, key, last_asked, message, outcome, said, seen, tool,
    user, written_by,
};
use crate::tool::{Nature, Work};

async fn session_id(gateway: &TestGateway) -> model::SessionId {
    gateway.services.sessions.get(&key(A)).await.unwrap().unwrap().id
}

fn resetting(gateway: &TestGateway) -> JoinHandle<model::Session> {
    let services = Arc::clone(&gateway.services);
    tokio::spawn(async move { services.runs.reset_session(&key(A), "new").await.unwrap() })
}

fn deleting(gateway: &TestGateway) -> JoinHandle<u64> {
    let services = Arc::clone(&gateway.services);
    tokio::spawn(async move { services.runs.delete_session(&key(A)).await.unwrap() })
}

#[tokio::test]
async fn a_reset_ends_what_runs_and_takes_over_what_came_meanwhile() {
    let work = Work::new(Nature::Stubborn);
    let gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway.provider.push(calls_work("c1"));
    let (active, waiting) = (gateway.say(A, "work").await, gateway.say(A, "waits").await);
    work.begun(1).await;
    let old = session_id(&gateway).await;
    let reset = resetting(&gateway);
    work.saw_cancel().await;
    // Said when the reset was asked for already: it is meant for the new conversation.
    let late = gateway.say(A, "afresh").await;
    work.finish();
    let fresh = soon("the reset", reset).await.unwrap();
    assert_ne!(fresh.id, old);
    for run in [&active, &waiting] {
        assert_eq!(outcome(&gateway, run).await, cancelled(StopCause::SessionReset));
    }
    assert_eq!(outcome(&gateway, &late).await, COMPLETED);
    assert_eq!(gateway.messages(A).await, [user("afresh"), assistant("afresh")]);
    assert_eq!(last_asked(&gateway), [user("afresh")]);
    assert_eq!(gateway.ended(&late).await.session_id, fresh.id);
    // The old transcript stays readable under its own id.
    let bodies =
        async |run| written_by(&gateway, run).await.into_iter().map(|message| message.body).collect::<Vec<_>>();
    assert_eq!(said(&bodies(&active).await), [user("work"), assistant(""), tool("worked")]);
    assert_eq!(said(&bodies(&waiting).await), [user("waits")]);
    let session = gateway.services.sessions.get(&key(A)).await.unwrap().unwrap();
    assert_eq!((session.id, session.message_count), (fresh.id, 2));
    close(gateway).await;
}

#[tokio::test]
async fn a_reset_is_carried_out_although_nobody_waits_for_it() {
    let gateway = TestGateway::start().await;
    gateway.ended(&gateway.say(A, "before").await).await;
    let old = session_id(&gateway).await;
    gateway.store.hold_next();
    let reset = resetting(&gateway);
    soon("the reset", gateway.store.reached(1)).await;
    let late = gateway.say(A, "afresh").await;
    reset.abort();
    assert!(reset.await.is_err());
    gateway.store.let_go();
    assert_eq!(outcome(&gateway, &late).await, COMPLETED);
    assert_ne!(session_id(&gateway).await, old);
    assert_eq!(gateway.messages(A).await, [user("afresh"), assistant("afresh")]);
    close(gateway).await;
}

#[tokio::test]
async fn input_of_a_run_whose_end_comes_behind_a_reset_is_in_the_new_conversation_with_its_message() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let (active, waiting) = (gateway.say(A, "one").await, gateway.say(A, "two").await);
    gate.reached().await;
    let old = session_id(&gateway).await;
    assert_eq!(gateway.services.runs.respond(&waiting, "and three").await.unwrap(), Responded::Queued);
    // The end of the waiting run is on its way when the reset passes it by.
    gateway.store.hold_next();
    let (services, run) = (Arc::clone(&gateway.services), waiting.clone());
    let cancel = tokio::spawn(async move { services.runs.cancel(&run, StopCause::User).await.unwrap() });
    soon("the cancellation", gateway.store.reached(1)).await;
    let fresh = soon("the reset", resetting(&gateway)).await.unwrap();
    assert_ne!(fresh.id, old);
    gateway.store.let_go();
    soon("the cancellation", cancel).await.unwrap();
    assert_eq!(outcome(&gateway, &active).await, cancelled(StopCause::SessionReset));
    assert_eq!(outcome(&gateway, &waiting).await, cancelled(StopCause::User));
    assert_eq!(gateway.ended(&waiting).await.session_id, fresh.id);
    assert_eq!(gateway.messages(A).await, [user("two"), user("and three")]);
    close(gateway).await;
}

#[tokio::test]
async fn deleting_a_session_ends_its_runs_first() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let runs = [gateway.say(A, "one").await, gateway.say(A, "two").await, gateway.say(A, "three").await];
    gate.reached().await;
    assert_eq!(soon("the deletion", deleting(&gateway)).await.unwrap(), 3);
    for run in &runs {
        assert_eq!(outcome(&gateway, run).await, cancelled(StopCause::SessionDeleted));
        assert_eq!(gateway.services.runs.get(run).await.unwrap(), None);
    }
    assert_eq!(gateway.services.sessions.get(&key(A)).await.unwrap(), None);
    gateway.ended(&gateway.say(A, "anew").await).await;
    assert_eq!(gateway.messages(A).await, [user("anew"), assistant("anew")]);
    close(gateway).await;
}

#[tokio::test]
async fn who_waits_for_a_run_hears_that_it_ended_with_its_session() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let (active, waiting) = (gateway.say(A, "one").await, gateway.say(A, "two").await);
    gate.reached().await;
    // The next write is the end of the waiting run; with it the deletion stands still.
    gateway.store.hold_next();
    let delete = deleting(&gateway);
    soon("the deletion", gateway.store.reached(1)).await;
    let late = gateway.say(A, "late").await;
    let waits = [&active, &waiting, &late].map(|run| {
        let (services, run) = (Arc::clone(&gateway.services), run.clone());
        tokio::spawn(async move { services.runs.wait(&run, 10 * testkit::PATIENCE).await.unwrap().unwrap() })
    });
    // The tasks have had their turn when a read has come back.
    gateway.contents().await;
    gateway.store.let_go();
    soon("the deletion", delete).await.unwrap();
    for wait in waits {
        let run = soon("its end", wait).await.unwrap();
        assert_eq!((run.state, run.stop_cause), (RunState::Cancelled, Some(StopCause::SessionDeleted)));
    }
    close(gateway).await;
}

#[tokio::test]
async fn a_message_that_comes_during_the_deletion_ends_with_the_session() {
    // Whether or not the caller waits for the deletion.
    for is_awaited in [true, false] {
        let gateway = TestGateway::start().await;
        gateway.ended(&gateway.say(A, "before").await).await;
        gateway.store.hold_next();
        let delete = deleting(&gateway);
        soon("the deletion", gateway.store.reached(1)).await;
        let late = gateway.say(A, "late").await;
        if !is_awaited {
            delete.abort();
        }
        gateway.store.let_go();
        assert_eq!(delete.await.ok(), is_awaited.then_some(3));
        seen(&gateway, "the deletion", |event| matches!(event, Event::SessionDeleted { .. })).await;
        assert_eq!(outcome(&gateway, &late).await, cancelled(StopCause::SessionDeleted));
        gateway.idle().await;
        assert_eq!(started(&gateway, &late).await, 0);
        assert_eq!(outcome(&gateway, &gateway.say(A, "anew").await).await, COMPLETED);
        close(gateway).await;
    }
}

async fn started(gateway: &TestGateway, run: &RunId) -> usize {
    count(gateway, |event| matches!(event, Event::RunStarted { run: of, .. } if of.run_id == *run)).await
}

#[tokio::test]
async fn a_message_waits_while_its_session_is_compacted() {
    // Whether the compaction comes to its end or its caller goes away in the middle.
    for is_awaited in [true, false] {
        let gateway = TestGateway::start().await;
        let gate = Gate::new();
        let long = "a long story ".repeat(100);
        gateway.given_session(A, [NewMessage::user(long.as_str()), NewMessage::assistant("indeed")]).await;
        gateway.provider.push(Scripted::held(&gate, "[]"));
        gateway.provider.push(Scripted::text("a story"));
        let services = Arc::clone(&gateway.services);
        let options = CompactOptions { keep_recent: Some(0), ..CompactOptions::default() };
        let compaction = tokio::spawn(async move { services.runs.compact(&key(A), options).await.unwrap().compacted });
        soon("the question for facts", gate.reached()).await;
        let accepted = gateway.accept(message(A, "and then?")).await.unwrap();
        assert!(accepted.pending);
        let run = accepted.run.id.clone();
        drop(accepted);
        assert_eq!(started(&gateway, &run).await, 0);
        if is_awaited {
            gate.open();
            assert!(compaction.await.unwrap());
        } else {
            compaction.abort();
            assert!(compaction.await.is_err());
        }
        assert_eq!(outcome(&gateway, &run).await, COMPLETED);
        let stored = gateway.messages(A).await;
        assert_eq!(stored[stored.len() - 2], user("and then?"));
        assert_eq!(stored.len(), if is_awaited { 3 } else { 4 });
        close(gateway).await;
    }
}

#[tokio::test]
async fn whoever_changes_a_session_goes_before_the_messages_that_wait() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    let long = "a long story ".repeat(100);
    gateway.given_session(A, [NewMessage::user(long.as_str()), NewMessage::assistant("indeed")]).await;
    gateway.provider.push(Scripted::held(&gate, "done"));
    gateway.provider.push(Scripted::text("[]"));
    gateway.provider.push(Scripted::text("a story"));
    let (active, waiting) = (gateway.say(A, "one").await, gateway.say(A, "two").await);
    gate.reached().await;
    let services = Arc::clone(&gateway.services);
    let options = CompactOptions { keep_recent: Some(0), ..CompactOptions::default() };
    let compaction = tokio::spawn(async move { services.runs.compact(&key(A), options).await.unwrap().compacted });
    let impatient = gateway.services.runs.compact_now(&key(A), CompactOptions::default()).await;
    assert_eq!(impatient.err().map(|error| error.kind), Some(ErrorKind::Busy));
    // The task has had its turn when a read has come back.
    gateway.contents().await;
    let late = gateway.say(A, "three").await;
    gate.open();
    assert!(soon("the compaction", compaction).await.unwrap());
    for run in [&active, &waiting, &late] {
        assert_eq!(outcome(&gateway, run).await, COMPLETED);
    }
    let is_step = |event: &Event| match event {
        Event::RunStarted { run, .. } => Some(run.run_id.clone()),
        Event::SessionCompacted { .. } => Some(RunId::trusted("compacted")),
        _ => None,
    };
    let steps: Vec<RunId> = gateway.events().await.iter().filter_map(|stored| is_step(&stored.event)).collect();
    assert_eq!(steps, [active, RunId::trusted("compacted"), waiting, late]);
    close(gateway).await;
}
