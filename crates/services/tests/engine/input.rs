//! Further input to a run that is not over.

use model::{ErrorKind, Event, Noun, Role, RunId, StopCause};
use providers::testkit::{Gate, Scripted};
use serde_json::json;
use services::Limits;
use services::runs::Responded;
use testkit::{TestGateway, soon};

use crate::rig::{
    A, COMPLETED, asks, assistant, calls_work, cancelled, close, halting, key, last_asked, message, outcome, seen,
    tool, user,
};
use crate::tool::{Nature, Work};

async fn respond(gateway: &TestGateway, run: &RunId, text: &str) -> Result<Responded, ErrorKind> {
    gateway.services.runs.respond(run, text).await.map_err(|error| error.kind)
}

async fn question(gateway: &TestGateway) -> String {
    let is_question = |event: &Event| matches!(event, Event::InputRequested { .. });
    match seen(gateway, "a question", is_question).await {
        Event::InputRequested { prompt, .. } => prompt,
        other => panic!("{other:?} is no question"),
    }
}

#[tokio::test]
async fn an_answer_reaches_the_run_that_asked() {
    let gateway = TestGateway::start().await;
    gateway.provider.push(asks("c1", "Which colour?"));
    gateway.provider.push(Scripted::text("as you like"));
    let run = gateway.say(A, "paint it").await;
    assert_eq!(question(&gateway).await, "Which colour?");
    let awaiting = gateway.services.runs.require(&run).await.unwrap().awaiting.unwrap();
    assert_eq!(awaiting.prompt, "Which colour?");
    assert_eq!(respond(&gateway, &run, "blue").await, Ok(Responded::Delivered));
    let ended = gateway.ended(&run).await;
    assert_eq!((ended.awaiting, ended.response.as_deref()), (None, Some("as you like")));
    assert_eq!(last_asked(&gateway), [user("paint it"), assistant(""), tool("blue")]);
    assert_eq!(gateway.messages(A).await, [user("paint it"), assistant(""), tool("blue"), assistant("as you like")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_run_that_does_not_ask_is_told_at_its_next_step() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(halting("I think ", &gate, "so"));
    gateway.provider.push(Scripted::text("ah, red"));
    let run = gateway.say(A, "which?").await;
    gate.reached().await;
    for text in ["make it red", "and bright"] {
        assert_eq!(respond(&gateway, &run, text).await, Ok(Responded::Queued));
    }
    gate.open();
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    let course = [user("which?"), assistant("I think so"), user("make it red"), user("and bright")];
    assert_eq!(last_asked(&gateway), course);
    assert_eq!(gateway.messages(A).await, [course.to_vec(), vec![assistant("ah, red")]].concat());
    close(gateway).await;
}

#[tokio::test]
async fn input_to_a_waiting_run_is_told_with_its_message() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "done"));
    let (_, waiting) = (gateway.say(A, "one").await, gateway.say(A, "two").await);
    gate.reached().await;
    assert_eq!(respond(&gateway, &waiting, "and three").await, Ok(Responded::Queued));
    gate.open();
    assert_eq!(outcome(&gateway, &waiting).await, COMPLETED);
    assert_eq!(last_asked(&gateway), [user("one"), assistant("done"), user("two"), user("and three")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_run_that_is_over_takes_no_input() {
    let gateway = TestGateway::start().await;
    let run = gateway.say(A, "hello").await;
    gateway.ended(&run).await;
    assert_eq!(respond(&gateway, &run, "too late").await, Ok(Responded::Ended));
    let unknown = respond(&gateway, &RunId::trusted("nobody"), "hello?").await;
    assert_eq!(unknown, Err(ErrorKind::NotFound(Noun::Run)));
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant("hello")]);
    close(gateway).await;
}

#[tokio::test]
async fn so_much_input_may_wait_and_no_more() {
    let gateway = TestGateway::builder().limits(Limits { run_inputs: 2, ..Limits::default() }).start().await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "done"));
    let run = gateway.say(A, "hello").await;
    gate.reached().await;
    for text in ["one", "two"] {
        assert_eq!(respond(&gateway, &run, text).await, Ok(Responded::Queued));
    }
    assert_eq!(respond(&gateway, &run, "three").await, Err(ErrorKind::Busy));
    gate.open();
    gateway.ended(&run).await;
    let told = [user("hello"), assistant("done"), user("one"), user("two"), assistant("two")];
    assert_eq!(gateway.messages(A).await, told);
    close(gateway).await;
}

#[tokio::test]
async fn input_that_comes_while_the_end_is_written_down_belongs_to_the_next_turn() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "done"));
    let run = gateway.say(A, "hello").await;
    gate.reached().await;
    gateway.store.hold_next();
    gate.open();
    soon("the end", gateway.store.reached(1)).await;
    assert_eq!(respond(&gateway, &run, "one more thing").await, Ok(Responded::Queued));
    gateway.store.let_go();
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    gateway.idle().await;
    let kept = [user("hello"), assistant("done"), user("one more thing")];
    assert_eq!(gateway.messages(A).await, kept);
    gateway.ended(&gateway.say(A, "well?").await).await;
    assert_eq!(last_asked(&gateway), [kept.to_vec(), vec![user("well?")]].concat());
    close(gateway).await;
}

#[tokio::test]
async fn input_to_a_run_that_is_cancelled_stays_in_the_transcript() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    gateway.provider.push(Scripted::held(&gate, "never"));
    let run = gateway.say(A, "hello").await;
    gate.reached().await;
    respond(&gateway, &run, "and this").await.unwrap();
    gateway.services.runs.cancel(&run, StopCause::User).await.unwrap();
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User));
    assert_eq!(gateway.messages(A).await, [user("hello"), user("and this")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_question_that_could_not_be_asked_takes_nobodys_words() {
    let (gateway, gate) = (TestGateway::start().await, Gate::new());
    let call = Scripted::Stream(Vec::new()).then_wait(&gate);
    let Scripted::Stream(steps) = Scripted::tool_calls([("c1", "ask_user", json!({ "prompt": "" }))]) else {
        unreachable!()
    };
    gateway.provider.push(steps.into_iter().fold(call, Scripted::then));
    gateway.provider.push(Scripted::text("I see"));
    let run = gateway.say(A, "hello").await;
    gate.reached().await;
    respond(&gateway, &run, "by the way").await.unwrap();
    gate.open();
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    let roles: Vec<Role> = last_asked(&gateway).iter().map(|(role, _)| *role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::User]);
    assert_eq!(last_asked(&gateway)[3], user("by the way"));
    close(gateway).await;
}

#[tokio::test]
async fn a_cancelled_question_takes_nobodys_words() {
    let work = Work::new(Nature::Stubborn);
    let gateway = TestGateway::builder().tool(work.clone()).start().await;
    // Both run alone: the question comes when the work is done, and the run is cancelled by then.
    let calls = [("c1", "work", json!({})), ("c2", "ask_user", json!({ "prompt": "Well?" }))];
    gateway.provider.push(Scripted::tool_calls(calls));
    let run = gateway.say(A, "hello").await;
    work.begun(1).await;
    respond(&gateway, &run, "by the way").await.unwrap();
    gateway.services.runs.cancel(&run, StopCause::User).await.unwrap();
    work.finish();
    assert_eq!(outcome(&gateway, &run).await, cancelled(StopCause::User));
    assert_eq!(gateway.messages(A).await.last(), Some(&user("by the way")));
    close(gateway).await;
}

#[tokio::test]
async fn a_question_ends_with_its_run() {
    let gateway = TestGateway::start().await;
    gateway.provider.push(asks("c1", "Well?"));
    let run = gateway.say(A, "hello").await;
    question(&gateway).await;
    gateway.services.runs.cancel(&run, StopCause::User).await.unwrap();
    let ended = gateway.ended(&run).await;
    assert_eq!((ended.awaiting, ended.stop_cause), (None, Some(StopCause::User)));
    assert_eq!(gateway.messages(A).await, [user("hello"), assistant(""), tool("cancelled")]);
    close(gateway).await;
}

#[tokio::test]
async fn input_during_a_tool_is_told_together_with_its_result() {
    let work = Work::new(Nature::Heeding);
    let gateway = TestGateway::builder().tool(work.clone()).start().await;
    gateway.provider.push(calls_work("c1"));
    gateway.provider.push(Scripted::text("done"));
    let run = drop_and_name(gateway.accept(message(A, "work")).await.unwrap());
    work.begun(1).await;
    assert_eq!(respond(&gateway, &run, "faster").await, Ok(Responded::Queued));
    work.finish();
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    assert_eq!(last_asked(&gateway), [user("work"), assistant(""), tool("worked"), user("faster")]);
    assert_eq!(gateway.services.runs.active_of(&key(A)), []);
    close(gateway).await;
}

fn drop_and_name(accepted: services::runs::Accepted) -> RunId {
    accepted.run.id.clone()
}
