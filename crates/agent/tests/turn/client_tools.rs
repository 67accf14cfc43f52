//! Tools that the client runs.

use agent::Turn;
use model::{ClientTool, ClientTools, NewMessage, ToolCall, ToolChoice};
use providers::testkit::{Scripted, Step};
use providers::{Chunk, FinishReason};
use serde_json::json;

use crate::rig::{Deed, Double, Rig, checked, open, told};

fn weather(choice: ToolChoice) -> ClientTools {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tool = ClientTool { name: String::from("weather"), description: String::from("Tells it."), parameters };
    ClientTools { tools: vec![tool], choice, parallel: Some(false) }
}

fn turn(rig: &Rig, choice: ToolChoice) -> Turn {
    let tools = vec![checked(Double::reads("look", Deed::Echo))];
    Turn { tools, client_tools: weather(choice), ..rig.turn() }
}

#[tokio::test]
async fn a_call_of_a_clients_tool_ends_the_turn() {
    let rig = Rig::new([Scripted::tool_calls([("c1", "weather", json!({"city": "Rome"}))])]);
    let outcome = rig.run(turn(&rig, ToolChoice::Auto)).await;
    assert_eq!(told(&outcome.end), "handed back tool_calls: `` [c1 weather {\"city\":\"Rome\"}]");
    assert_eq!(rig.journal.written(), ["model p/default", "step `` [c1 weather]"]);
    let request = &rig.provider.requests()[0];
    let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!((names, request.parallel_tool_calls), (vec!["look", "weather"], Some(false)));
    assert_eq!((outcome.iterations, outcome.usage.input), (1, 10));
}

#[tokio::test]
async fn own_calls_of_the_same_answer_are_run_first() {
    let answer = Scripted::chunks([Chunk::Text(String::from("Both."))])
        .then(Step::Chunk(Chunk::ToolCall { index: 0, id: String::from("c1"), name: String::from("weather") }))
        .then(Step::Chunk(Chunk::ToolCall { index: 1, id: String::from("c2"), name: String::from("look") }))
        .then(Step::Chunk(Chunk::ToolArguments { index: 1, text: String::from("{\"n\":1}") }))
        .then_finish(FinishReason::ToolCalls);
    let rig = Rig::new([answer]);
    let outcome = rig.run(turn(&rig, ToolChoice::Auto)).await;
    assert_eq!(told(&outcome.end), "handed back tool_calls: `Both.` [c1 weather ]");
    let expected = ["model p/default", "step `Both.` [c1 weather, c2 look]", "start c2", "end c2 ok: look {\"n\":1}"];
    assert_eq!(rig.journal.written(), expected);
}

#[tokio::test]
async fn what_must_be_called_holds_until_a_clients_tool_is() {
    let rig = Rig::new([
        Scripted::tool_calls([("c1", "look", json!({}))]),
        Scripted::tool_calls([("c2", "weather", json!({}))]),
    ]);
    let outcome = rig.run(turn(&rig, ToolChoice::Required)).await;
    assert_eq!(told(&outcome.end), "handed back tool_calls: `` [c2 weather {}]");
    let choices: Vec<ToolChoice> = rig.provider.requests().into_iter().map(|request| request.tool_choice).collect();
    assert_eq!(choices, [ToolChoice::Required, ToolChoice::Required]);
}

#[tokio::test]
async fn a_client_that_wants_no_call_leaves_the_own_tools() {
    let rig = Rig::new([Scripted::tool_calls([("c1", "weather", json!({}))]), Scripted::text("I see")]);
    let outcome = rig.run(turn(&rig, ToolChoice::None)).await;
    assert_eq!(told(&outcome.end), "completed stop: I see");
    let request = &rig.provider.requests()[0];
    assert_eq!(
        (request.tools.len(), request.tools[0].name.as_str(), &request.tool_choice),
        (1, "look", &ToolChoice::Auto)
    );
    assert_eq!(rig.results_told(), ["error: there is no tool `weather`; the nearest are `look`"]);
}

#[tokio::test]
async fn a_call_that_was_cut_off_is_told_as_such() {
    let cut = Scripted::chunks([
        Chunk::ToolCall { index: 0, id: String::from("c1"), name: String::from("weather") },
        Chunk::ToolArguments { index: 0, text: String::from("{\"ci") },
        Chunk::Finish(FinishReason::Length),
    ]);
    let rig = Rig::new([cut]);
    let outcome = rig.run(turn(&rig, ToolChoice::Auto)).await;
    assert_eq!(told(&outcome.end), "handed back length: `` [c1 weather {\"ci]");
}

#[tokio::test]
async fn a_turn_that_was_interrupted_before_it_handed_back_runs_the_own_calls_and_asks_no_model() {
    let rig = Rig::new([]);
    let call = |id: &str, name: &str| ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: "{}".into() };
    let asked =
        NewMessage { tool_calls: vec![call("c1", "weather"), call("c2", "look")], ..NewMessage::assistant("Both.") };
    let turn = Turn {
        history: vec![NewMessage::user("hello"), asked],
        open_calls: vec![open("c1", "weather", false), open("c2", "look", true)],
        ..turn(&rig, ToolChoice::Auto)
    };
    let outcome = rig.run(turn).await;
    assert_eq!(told(&outcome.end), "handed back tool_calls: `Both.` [c1 weather {}]");
    assert_eq!(rig.journal.written(), ["start c2", "end c2 ok: look {}"]);
    assert_eq!(rig.provider.requests().len(), 0);
}

#[tokio::test]
async fn a_turn_that_is_cancelled_hands_nothing_back() {
    let rig = Rig::new([Scripted::tool_calls([("c1", "weather", json!({})), ("c2", "wait", json!({}))])]);
    let tools = vec![checked(Double::reads("wait", Deed::UntilCancelled))];
    let turn = Turn { tools, ..turn(&rig, ToolChoice::Auto) };
    let cancel = turn.context.cancel.clone();
    let (outcome, ()) = tokio::join!(rig.run(turn), async {
        rig.journal.wait_for("start c2").await;
        cancel.cancel();
    });
    assert_eq!(told(&outcome.end), "cancelled None");
}
