//! Stopping runs: at any moment, once or twice, with exactly one end.

use std::sync::Arc;

use model::{ErrorKind, Event, Noun, OpError, RunId, RunState, StopCause};
use providers::testkit::{Gate, Scripted};
use services::runs::Cancelled;
use testkit::{TestGateway, soon};

use crate::rig::{
    A, COMPLETED, assistant, calls_work, cancelled, close, course, halting, key, message, named, outcome, tool, user,
    written_by,
};
use crate::tool::{Nature, Work};

async fn cancel(gateway: &TestGateway, run: &RunId) -> Result<Cancelled, OpError> {
    gateway.services.runs.cancel(run, StopCause::User).await
}

#[tokio::test]
async fn a_waiting_run_ends_at_once_and_never_starts() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "done"));
    let (active, waiting, last) =
        (gateway.say(A, "one").await, gateway.say(A, "two").await, gateway.say(A, "three").await);
    gate.reached().await;
    let stopped = cancel(&gateway, &waiting).await.unwrap();
    assert_eq!((stopped.changed, stopped.run.state), (true, RunState::Cancelled));
    assert_eq!(outcome(&gateway, &waiting).await, cancelled(StopCause::User));
    gate.open();
    gateway.idle().await;
    let [one, three] = [active, last].map(|id| [("started", id.clone()), ("ended", id)]);
    assert_eq!(
        course(&gateway).await,
        [vec![one[0].clone(), ("ended", waiting)], vec![one[1].clone()], three.to_vec()].concat()
    );
    // What was said stays said.
    assert_eq!(gateway.messages(A).await[..3], [user("one"), user("two"), user("three")]);
    close(gateway).await;
}

#[tokio::test]
async fn the_text_of_a_cancelled_answer_is_kept_and_marked() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(halting("half an ", &gate, "answer"));
    let run = gateway.say(A, "hello").await;
    gate.reached().await;
    assert!(cancel(&gateway, &run).await.unwrap().changed);
    let ended = gateway.ended(&run).await;
    assert_eq!((ended.state, ended.stop_cause), (RunState::Cancelled, Some(StopCause::User)));
    assert_eq!(ended.response.as_deref(), Some("half an "));
    let answer = written_by(&gateway, &run).await.pop().unwrap().body;
    let marks = ["partial", "stop_reason"].map(|mark| answer.metadata.get(mark).cloned());
    assert_eq!(marks, [Some(true.into()), Some("cancelled".into())]);
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("half an ")]);
    gateway.provider.wait_for_dropped(1).await;
    let session = gateway.services.sessions.get(&key(A)).await.unwrap().unwrap();
    assert!(session.aborted_last_run);
    gateway.ended(&gateway.say(A, "go on").await).await;
    close(gateway).await;
}

#[tokio::test]
async fn an_answer_that_had_not_begun_leaves_no_message() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let run = gateway.say(A, "hello").await;
    gate.reached().await;
    cancel(&gateway, &run).await.unwrap();
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User));
    assert_eq!(gateway.messages(A).await, [user("hello")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_tool_is_stopped_with_its_run_and_both_ends_are_told() {
    let work = Work::new(Nature::Heeding);
    let gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway.provider.push(calls_work("c1"));
    let run = gateway.say(A, "work").await;
    work.begun(1).await;
    cancel(&gateway, &run).await.unwrap();
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User));
    assert_eq!(gateway.messages(A).await, [user("work"), assistant(""), tool("cancelled")]);
    assert_eq!(gateway.provider.requests().len(), 1);
    close(gateway).await;
}

#[tokio::test]
async fn a_tool_that_ends_although_it_was_cancelled_gets_to_say_so() {
    let work = Work::new(Nature::Stubborn);
    let gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway.provider.push(calls_work("c1"));
    let run = gateway.say(A, "work").await;
    work.begun(1).await;
    cancel(&gateway, &run).await.unwrap();
    work.saw_cancel().await;
    work.finish();
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User));
    assert_eq!(gateway.messages(A).await, [user("work"), assistant(""), tool("worked")]);
    close(gateway).await;
}

#[tokio::test]
async fn twice_and_after_the_end_changes_nothing() {
    let work = Work::new(Nature::Stubborn);
    let gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway.provider.push(calls_work("c1"));
    let run = gateway.say(A, "work").await;
    work.begun(1).await;
    let (first, second) = tokio::join!(cancel(&gateway, &run), gateway.services.runs.cancel(&run, StopCause::Shutdown));
    assert!(first.unwrap().changed && second.unwrap().changed, "it is not over yet");
    work.finish();
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User), "the first cause stands");
    gateway.idle().await;
    let before = gateway.contents().await;
    let late = cancel(&gateway, &run).await.unwrap();
    assert_eq!((late.changed, late.run.state), (false, RunState::Cancelled));
    let done = gateway.say(A, "more").await;
    assert_eq!(outcome(&gateway, &done).await, COMPLETED);
    gateway.idle().await;
    assert_eq!(cancel(&gateway, &done).await.unwrap().run.state, RunState::Completed);
    let unknown = cancel(&gateway, &RunId::trusted("nobody")).await.err().unwrap();
    assert_eq!(unknown.kind, ErrorKind::NotFound(Noun::Run));
    assert!(gateway.contents().await.cursor > before.cursor);
    close(gateway).await;
}

#[tokio::test]
async fn a_session_is_stopped_as_a_whole() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let mut runs = Vec::new();
    for text in ["one", "two", "three"] {
        runs.push(gateway.say(A, text).await);
    }
    gate.reached().await;
    let stopped = gateway.services.runs.cancel_session(&key(A), StopCause::StopCommand).await.unwrap();
    assert_eq!(stopped, runs);
    for run in &runs {
        assert_eq!(outcome(&gateway, run).await, cancelled(StopCause::StopCommand));
    }
    gateway.idle().await;
    assert_eq!(course(&gateway).await.iter().filter(|(what, _)| *what == "started").count(), 1);
    assert_eq!(gateway.services.runs.cancel_session(&key(A), StopCause::User).await.unwrap(), []);
    assert_eq!(outcome(&gateway, &gateway.say(A, "again").await).await, COMPLETED);
    close(gateway).await;
}

#[tokio::test]
async fn a_run_can_be_cancelled_before_its_answer_is_on_its_way() {
    let gateway = TestGateway::start().await;
    let accepted = gateway.accept(message(A, "hello")).await.unwrap();
    let run = accepted.run.id.clone();
    assert!(cancel(&gateway, &run).await.unwrap().changed);
    drop(accepted);
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User));
    gateway.idle().await;
    assert_eq!(course(&gateway).await, [("ended", run)]);
    close(gateway).await;
}

#[tokio::test]
async fn a_run_can_be_cancelled_while_it_is_written_down() {
    // Either the message reaches the database first, or the wish to stop it.
    for message_first in [true, false] {
        let gateway = TestGateway::start().await;
        if message_first {
            gateway.store.hold()
        } else {
            gateway.store.hold_next()
        }
        let services = Arc::clone(&gateway.services);
        let accepting = tokio::spawn(async move {
            let accepted = services.runs.accept(&model::Principal::gateway(), named("early", A, "hello")).await;
            accepted.map(|accepted| (accepted.duplicate, accepted.start.is_some()))
        });
        soon("the write", gateway.store.reached(1)).await;
        let run = RunId::trusted("early");
        let services = Arc::clone(&gateway.services);
        let stopping =
            tokio::spawn(async move { services.runs.cancel(&RunId::trusted("early"), StopCause::User).await });
        if message_first {
            soon("the second write", gateway.store.reached(2)).await;
            gateway.store.let_go();
            assert!(stopping.await.unwrap().unwrap().changed);
        } else {
            assert!(stopping.await.unwrap().unwrap().changed);
            gateway.store.let_go();
        }
        assert!(!accepting.await.unwrap().unwrap().0, "it is no duplicate");
        assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User));
        gateway.idle().await;
        assert_eq!(course(&gateway).await, [("ended", run)]);
        assert_eq!(gateway.messages(A).await, [user("hello")]);
        assert!(!gateway.accept(message(A, "next")).await.unwrap().pending);
        close(gateway).await;
    }
}

#[tokio::test]
async fn stopping_one_run_lets_the_next_begin() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let (first, second) = (gateway.say(A, "one").await, gateway.say(A, "two").await);
    gate.reached().await;
    cancel(&gateway, &first).await.unwrap();
    assert_eq!(outcome(&gateway, &second).await, COMPLETED);
    let told = gateway.events().await;
    let ends = told.iter().filter(|stored| matches!(stored.event, Event::RunEnded { .. })).count();
    assert_eq!(ends, 2);
    close(gateway).await;
}
