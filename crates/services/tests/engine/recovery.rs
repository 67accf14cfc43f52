//! What a killed gateway had begun is brought to its end by the next one.

use std::sync::Arc;

use model::{ClientTool, ClientTools, EndReason, Event, RunId, RunOptions, RunOutcome, StopCause, ToolCall};
use providers::testkit::{Gate, Scripted};
use serde_json::json;
use services::runs::{NewRun, Recovered};
use testkit::store::Fault;
use testkit::{TestGateway, soon};

use crate::rig::{
    A, B, COMPLETED, asks, assistant, calls_work, cancelled, close, count, course, halting, key, last_asked, message,
    named, outcome, seen, tool, user,
};
use crate::tool::{Nature, Work};

const RESUMED: Recovered = Recovered { resumed: 1, requeued: 0, ended: 0 };

const INTERRUPTED: &str = "interrupted: the gateway was restarted while this tool ran, and whether it did its work is unknown. \
                           Find out before you call it again.";

async fn tool_events(gateway: &TestGateway) -> (usize, usize) {
    (
        count(gateway, |event| matches!(event, Event::ToolStarted { .. })).await,
        count(gateway, |event| matches!(event, Event::ToolEnded { .. })).await,
    )
}

#[tokio::test]
async fn a_message_that_was_accepted_is_answered_after_a_crash() {
    let mut gateway = TestGateway::start().await;
    let accepted = gateway.accept(message(A, "hello")).await.unwrap();
    gateway.crash().await;
    assert_eq!(gateway.recovered, Recovered { resumed: 0, requeued: 1, ended: 0 });
    assert_eq!(outcome(&gateway, &accepted.run.id).await, COMPLETED);
    drop(accepted);
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("hello")]);
    close(gateway).await;
}

#[tokio::test]
async fn what_waited_is_taken_up_in_the_order_of_its_acceptance() {
    let (mut gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let mut runs = Vec::new();
    // The ids of clients fall while the order of acceptance rises.
    for id in ["d", "c", "b", "a"] {
        drop(gateway.accept(named(id, A, id)).await.unwrap());
        runs.push(RunId::trusted(id));
    }
    gate.reached().await;
    for _ in 0..2 {
        gateway.provider.push(Scripted::held(&gate, "never"));
        gateway.crash().await;
        assert_eq!(gateway.recovered, Recovered { resumed: 1, requeued: 3, ended: 0 });
        gateway.provider.wait_for_requests(2).await;
    }
    gateway.crash().await;
    gate.open();
    gateway.idle().await;
    let order: Vec<_> = runs.into_iter().flat_map(|id| [("started", id.clone()), ("ended", id)]).collect();
    assert_eq!(course(&gateway).await, order);
    close(gateway).await;
}

#[tokio::test]
async fn a_stream_that_was_cut_is_begun_anew_and_leaves_no_half_answer() {
    let (mut gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(halting("half an ", &gate, "answer"));
    let run = gateway.say(A, "hello").await;
    gate.reached().await;
    gateway.provider.push(Scripted::text("a whole one"));
    gateway.crash().await;
    assert_eq!(gateway.recovered, RESUMED);
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("a whole one")]);
    assert_eq!(gateway.ended(&run).await.response.as_deref(), Some("a whole one"));
    close(gateway).await;
}

#[tokio::test]
async fn a_tool_whose_outcome_is_unknown_is_reported_to_the_model() {
    let work = Work::new(Nature::Heeding);
    let mut gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway.provider.push(calls_work("c1"));
    let run = gateway.say(A, "work").await;
    work.begun(1).await;
    gateway.provider.push(Scripted::text("I shall look"));
    gateway.crash().await;
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    assert_eq!(last_asked(&gateway), [user("work"), assistant(""), tool(INTERRUPTED)]);
    assert_eq!((work.calls(), tool_events(&gateway).await), (1, (1, 1)));
    close(gateway).await;
}

#[tokio::test]
async fn a_tool_that_may_run_twice_is_run_again_and_told_once() {
    let work = Work::new(Nature::Repeatable);
    let mut gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway.provider.push(calls_work("c1"));
    let run = gateway.say(A, "work").await;
    work.begun(1).await;
    gateway.provider.push(Scripted::text("done"));
    gateway.crash().await;
    work.begun(2).await;
    work.finish();
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    assert_eq!(gateway.messages(A).await, [user("work"), assistant(""), tool("worked"), assistant("done")]);
    assert_eq!(tool_events(&gateway).await, (1, 1));
    close(gateway).await;
}

#[tokio::test]
async fn a_tool_that_has_ended_is_not_run_again() {
    let (work, gate) = (Work::new(Nature::Heeding), Gate::new());
    work.finish();
    let mut gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway.provider.push(calls_work("c1"));
    gateway.provider.push(Scripted::held(&gate, "never"));
    let run = gateway.say(A, "work").await;
    gate.reached().await;
    gateway.provider.push(Scripted::text("done"));
    gateway.crash().await;
    let ended = gateway.ended(&run).await;
    assert_eq!((ended.response.as_deref(), ended.iterations), (Some("done"), 2));
    assert_eq!(last_asked(&gateway), [user("work"), assistant(""), tool("worked")]);
    assert_eq!((work.calls(), tool_events(&gateway).await), (1, (1, 1)));
    close(gateway).await;
}

#[tokio::test]
async fn a_turn_knows_its_clients_tools_after_a_crash() {
    let work = Work::new(Nature::Repeatable);
    let mut gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway
        .provider
        .push(Scripted::tool_calls([("c1", "weather", json!({ "city": "Rome" })), ("c2", "work", json!({}))]));
    let weather =
        ClientTool { name: "weather".into(), description: String::new(), parameters: json!({ "type": "object" }) };
    let client_tools = Some(ClientTools { tools: vec![weather], ..ClientTools::default() });
    let options = RunOptions { client_tools, ..RunOptions::default() };
    let accepted = gateway.accept(NewRun { options, ..message(A, "both") }).await.unwrap();
    let run = accepted.run.id.clone();
    drop(accepted);
    work.begun(1).await;
    gateway.crash().await;
    work.begun(2).await;
    work.finish();
    assert_eq!(outcome(&gateway, &run).await, RunOutcome::Completed { reason: EndReason::ToolCalls });
    let end = seen(&gateway, "the end", |event| matches!(event, Event::RunEnded { .. })).await;
    let Event::RunEnded { client_calls, tool_calls, .. } = end else { panic!("{end:?} is no end") };
    let call = ToolCall { id: "c1".into(), name: "weather".into(), arguments: "{\"city\":\"Rome\"}".into() };
    assert_eq!((client_calls, tool_calls), (vec![call], 2));
    assert_eq!(gateway.messages(A).await, [user("both"), assistant(""), tool("worked")]);
    // Whoever goes on without the result is not left with half a conversation.
    gateway.provider.push(Scripted::text("I know nothing of it"));
    let run = gateway.say(A, "well?").await;
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    let missing = "error: no result of this call was written down";
    let (worked, missing) = (tool("worked"), tool(missing));
    assert_eq!(last_asked(&gateway), [user("both"), assistant(""), missing, worked, user("well?")]);
    close(gateway).await;
}

#[tokio::test]
async fn input_that_was_stored_is_told_after_a_crash() {
    let (mut gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let run = gateway.say(A, "hello").await;
    gate.reached().await;
    gateway.services.runs.respond(&run, "and this").await.unwrap();
    gateway.crash().await;
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    assert_eq!(gateway.messages(A).await, [user("hello"), user("and this"), assistant("and this")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_question_without_an_answer_is_asked_again() {
    let mut gateway = TestGateway::start().await;
    gateway.provider.push(asks("c1", "Which?"));
    let run = gateway.say(A, "hello").await;
    let is_question = |event: &Event| matches!(event, Event::InputRequested { .. });
    seen(&gateway, "the question", is_question).await;
    gateway.crash().await;
    let times = std::cell::Cell::new(0);
    let is_second = |event: &Event| {
        times.set(times.get() + i32::from(is_question(event)));
        times.get() == 2
    };
    seen(&gateway, "the question again", is_second).await;
    gateway.provider.push(Scripted::text("good"));
    gateway.services.runs.respond(&run, "this one").await.unwrap();
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant(""), tool("this one"), assistant("good")]);
    close(gateway).await;
}

#[tokio::test]
async fn an_answer_that_was_stored_is_not_asked_for_again() {
    let mut gateway = TestGateway::start().await;
    gateway.provider.push(asks("c1", "Which?"));
    let run = gateway.say(A, "hello").await;
    let is_question = |event: &Event| matches!(event, Event::InputRequested { .. });
    seen(&gateway, "the question", is_question).await;
    // The answer is written down, and nothing after it.
    gateway.store.set_fault_after(1, Fault::Refuse);
    gateway.services.runs.respond(&run, "this one").await.unwrap();
    gateway.provider.push(Scripted::text("good"));
    gateway.crash().await;
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant(""), tool("this one"), assistant("good")]);
    assert_eq!(count(&gateway, is_question).await, 1);
    close(gateway).await;
}

#[tokio::test]
async fn who_was_told_that_a_run_is_cancelled_does_not_see_it_go_on() {
    let work = Work::new(Nature::Stubborn);
    let mut gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway.provider.push(calls_work("c1"));
    let run = gateway.say(A, "work").await;
    work.begun(1).await;
    assert!(gateway.services.runs.cancel(&run, StopCause::User).await.unwrap().changed);
    gateway.crash().await;
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User));
    assert_eq!((gateway.provider.requests().len(), tool_events(&gateway).await), (1, (1, 1)));
    close(gateway).await;
}

#[tokio::test]
async fn a_step_that_was_on_its_way_does_not_undo_a_cancellation() {
    let work = Work::new(Nature::Stubborn);
    let mut gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway.provider.push(calls_work("c1"));
    let run = gateway.say(A, "work").await;
    work.begun(1).await;
    // The tool's end is overtaken by the wish to stop; behind it nothing is written any more.
    gateway.store.hold_next();
    work.finish();
    soon("the tool's end", gateway.store.reached(1)).await;
    assert!(gateway.services.runs.cancel(&run, StopCause::User).await.unwrap().changed);
    gateway.store.set_fault_after(1, Fault::Refuse);
    gateway.store.let_go();
    soon("a fault", gateway.store.struck(1)).await;
    gateway.crash().await;
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User));
    assert_eq!(gateway.messages(A).await, [user("work"), assistant(""), tool("worked")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_run_that_was_cancelled_while_it_was_written_down_does_not_start_after_a_crash() {
    let mut gateway = TestGateway::start().await;
    gateway.store.hold_next();
    let services = Arc::clone(&gateway.services);
    let accepting = tokio::spawn(async move {
        services.runs.accept(&model::Principal::gateway(), named("early", A, "hello")).await.map(|_| ())
    });
    soon("the message", gateway.store.reached(1)).await;
    let run = RunId::trusted("early");
    assert!(gateway.services.runs.cancel(&run, StopCause::User).await.unwrap().changed);
    // The message is written down, its end is not.
    gateway.store.set_fault_after(1, Fault::Refuse);
    gateway.store.let_go();
    soon("a fault", gateway.store.struck(1)).await;
    gateway.crash().await;
    assert!(soon("the answer", accepting).await.unwrap().is_err());
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User));
    assert_eq!(gateway.provider.requests().len(), 0);
    close(gateway).await;
}

#[tokio::test]
async fn a_run_for_one_connection_ends_with_it() {
    let (mut gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let session = "agent:main:ephemeral:1";
    let run = gateway.say(session, "hello").await;
    gate.reached().await;
    gateway.ended(&gateway.say(B, "beside").await).await;
    gateway.crash().await;
    assert_eq!(gateway.recovered, Recovered { resumed: 0, requeued: 0, ended: 1 });
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::ClientGone));
    assert_eq!(gateway.services.sessions.get(&key(session)).await.unwrap(), None);
    assert_eq!(gateway.messages(B).await, [user("beside"), assistant("beside")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_gateway_that_stops_in_order_leaves_its_runs_to_the_next() {
    let (mut gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(halting("half an ", &gate, "answer"));
    let (run, waiting) = (gateway.say(A, "one").await, gateway.say(A, "two").await);
    gate.reached().await;
    gateway.restart().await;
    assert_eq!(gateway.recovered, Recovered { resumed: 1, requeued: 1, ended: 0 });
    for id in [&run, &waiting] {
        assert_eq!(outcome(&gateway, id).await, COMPLETED);
    }
    assert_eq!(gateway.messages(A).await, [user("one"), user("two"), assistant("one"), assistant("two")]);
    close(gateway).await;
}
