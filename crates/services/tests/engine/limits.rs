//! Bounds of one run, and what a failing model comes to.

use model::{ErrorKind, Event, ModelRef, Run, RunLimits, RunOptions, RunState, StopCause};
use providers::ProviderErrorKind::{BadRequest, Cut, Overloaded, RateLimited};
use providers::testkit::{Gate, Scripted, ScriptedProvider};
use serde_json::json;
use services::Limits;
use services::runs::NewRun;
use testkit::TestGateway;

use crate::rig::{A, COMPLETED, assistant, cancelled, close, count, halting, message, outcome, tool, user};

fn bounded(limits: RunLimits) -> NewRun {
    NewRun { options: RunOptions { limits, ..RunOptions::default() }, ..message(A, "hello") }
}

/// Runs it to its end.
async fn run(gateway: &TestGateway, new: NewRun) -> Run {
    let id = gateway.accept(new).await.unwrap().run.id.clone();
    gateway.ended(&id).await
}

fn asks_the_time(id: &str) -> Scripted {
    Scripted::tool_calls([(id, "current_time", json!({}))])
}

#[tokio::test]
async fn a_run_ends_at_its_limit_of_model_calls() {
    let gateway = TestGateway::builder().limits(Limits { max_iterations: 2, ..Limits::default() }).start().await;
    gateway.provider.push(asks_the_time("c1"));
    gateway.provider.push(Scripted::tool_calls([("c2", "list_files", json!({ "path": "." }))]));
    let ended = run(&gateway, message(A, "hello")).await;
    assert_eq!((ended.state, ended.iterations), (RunState::Failed, 2));
    let error = ended.error.unwrap();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Conflict, "the run reached its limit of 2 model calls")
    );
    // The run's own limit goes before the gateway's.
    gateway.provider.push(asks_the_time("c3"));
    let ended = run(&gateway, bounded(RunLimits { iterations: Some(1), ..RunLimits::default() })).await;
    assert_eq!((ended.state, ended.iterations), (RunState::Failed, 1));
    close(gateway).await;
}

#[tokio::test]
async fn a_run_ends_at_its_limit_of_tokens() {
    let gateway = TestGateway::start().await;
    gateway.provider.push(asks_the_time("c1"));
    let ended = run(&gateway, bounded(RunLimits { tokens: Some(12), ..RunLimits::default() })).await;
    assert_eq!((ended.state, ended.usage.total()), (RunState::Failed, 12));
    assert_eq!(ended.error.unwrap().message, "the run used 12 tokens and reached its limit of 12");
    // An answer that is whole is not taken back.
    let ended = run(&gateway, bounded(RunLimits { tokens: Some(1), ..RunLimits::default() })).await;
    assert_eq!(ended.state, RunState::Completed);
    close(gateway).await;
}

#[tokio::test]
async fn a_run_ends_when_its_time_is_up() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(halting("slowly ", &gate, "never"));
    let ended = run(&gateway, bounded(RunLimits { time_ms: Some(1), ..RunLimits::default() })).await;
    assert_eq!((ended.state, ended.stop_cause), (RunState::Cancelled, Some(StopCause::Timeout)));
    assert_eq!(outcome(&gateway, &ended.id).await, cancelled(StopCause::Timeout));
    close(gateway).await;
}

#[tokio::test]
async fn the_time_before_a_restart_counts() {
    let (mut gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let limits = RunLimits { time_ms: Some(60_000), ..RunLimits::default() };
    let id = gateway.accept(bounded(limits)).await.unwrap().run.id.clone();
    gate.reached().await;
    gateway.clock().advance_ms(60_000);
    gateway.provider.push(Scripted::held(&gate, "never"));
    gateway.crash().await;
    assert_eq!(outcome(&gateway, &id).await, cancelled(StopCause::Timeout));
    close(gateway).await;
}

#[tokio::test]
async fn a_model_that_goes_round_in_a_circle_is_stopped() {
    let gateway = TestGateway::start().await;
    for id in ["c1", "c2", "c3", "c4", "c5"] {
        gateway.provider.push(asks_the_time(id));
    }
    let ended = run(&gateway, message(A, "hello")).await;
    assert_eq!((ended.state, ended.iterations), (RunState::Failed, 4));
    assert_eq!(ended.error.unwrap().kind, ErrorKind::ToolFailed);
    assert_eq!(gateway.provider.answers_left(), 1);
    assert_eq!(count(&gateway, |event| matches!(event, Event::ToolEnded { .. })).await, 4);
    close(gateway).await;
}

#[tokio::test]
async fn what_passes_is_tried_again_and_nobody_hears_of_it() {
    let gateway = TestGateway::start().await;
    gateway.provider.push(Scripted::refuse(RateLimited, "slow down"));
    gateway.provider.push(Scripted::refuse(Overloaded, "busy"));
    gateway.provider.push(Scripted::text("at last"));
    let ended = run(&gateway, message(A, "hello")).await;
    assert_eq!((ended.state, ended.iterations), (RunState::Completed, 1));
    assert_eq!(gateway.provider.requests().len(), 3);
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("at last")]);
    close(gateway).await;
}

#[tokio::test]
async fn the_fallback_answers_when_the_model_does_not() {
    let spare = ScriptedProvider::new("spare").answer("here");
    let gateway = TestGateway::builder().fallback(spare.clone()).start().await;
    for _ in 0..3 {
        gateway.provider.push(Scripted::refuse(Overloaded, "busy"));
    }
    let ended = run(&gateway, message(A, "hello")).await;
    assert_eq!((ended.state, ended.model), (RunState::Completed, Some(ModelRef::new("spare", "model"))));
    assert_eq!((gateway.provider.requests().len(), spare.requests().len()), (3, 1));
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("here")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_failure_is_told_once_and_the_session_goes_on() {
    let gateway = TestGateway::start().await;
    gateway.provider.push(Scripted::refuse(BadRequest, "this cannot be"));
    let ended = run(&gateway, message(A, "hello")).await;
    assert_eq!((ended.state, ended.response.as_deref()), (RunState::Failed, Some("")));
    let error = ended.error.unwrap();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::ProviderRefused, "scripted: this cannot be"));
    assert_eq!(gateway.messages(A).await, [user("hello")]);
    assert_eq!(count(&gateway, |event| matches!(event, Event::RunEnded { .. })).await, 1);
    assert_eq!(outcome(&gateway, &gateway.say(A, "again").await).await, COMPLETED);
    close(gateway).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_kept_as_far_as_it_came() {
    let gateway = TestGateway::start().await;
    gateway.provider.push(asks_the_time("c1"));
    gateway.provider.push(Scripted::breaks_after("it is ", Cut));
    let ended = run(&gateway, message(A, "what time?")).await;
    assert_eq!((ended.state, ended.response.as_deref()), (RunState::Failed, Some("it is ")));
    let said = gateway.messages(A).await;
    assert_eq!(said[..2], [user("what time?"), assistant("")]);
    assert_eq!(said[2], tool("2026-05-04T10:00:00+00:00, Monday, UTC"));
    assert_eq!(said[3..], [assistant("it is ")]);
    close(gateway).await;
}
