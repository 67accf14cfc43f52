//! What happens to the calls of an answer.

use std::sync::atomic::AtomicUsize;

use providers::testkit::Scripted;
use providers::{Chunk, FinishReason};
use serde_json::json;
use tokio::sync::Barrier;

use crate::rig::{Deed, Double, Rig};

#[tokio::test]
async fn calls_that_only_read_run_together_and_are_written_in_order() {
    // Each waits for the other: run one after the other they would never end.
    let rig = Rig::new([
        Scripted::tool_calls([("c1", "meet", json!({"n": 1})), ("c2", "meet", json!({"n": 2}))]),
        Scripted::text("ok"),
    ]);
    let end = rig.run_with([Double::reads("meet", Deed::Meet(Barrier::new(2)))]).await;
    assert_eq!(end, "completed stop: ok");
    let ends: Vec<String> = rig.journal.written().into_iter().filter(|line| line.starts_with("end")).collect();
    assert_eq!(ends, ["end c1 ok: met {\"n\":1}", "end c2 ok: met {\"n\":2}"]);
    assert_eq!(rig.results_told(), ["met {\"n\":1}", "met {\"n\":2}"]);
}

#[tokio::test]
async fn at_most_eight_calls_run_together() {
    let mut answer = Scripted::chunks([]);
    for index in 0..20 {
        let call = Chunk::ToolCall { index, id: format!("c{index}"), name: String::from("crowd") };
        answer = answer.then(providers::testkit::Step::Chunk(call));
    }
    let rig = Rig::new([answer.then_finish(FinishReason::ToolCalls), Scripted::text("ok")]);
    rig.run_with([Double::reads("crowd", Deed::Crowd)]).await;
    let most = rig.results_told().iter().map(|text| text.parse::<usize>().unwrap()).max();
    assert_eq!((rig.results_told().len(), most), (20, Some(8)));
}

#[tokio::test]
async fn calls_run_one_at_a_time_when_one_of_them_changes_something() {
    let rig = Rig::new([
        Scripted::tool_calls([("c1", "look", json!({})), ("c2", "change", json!({})), ("c3", "look", json!({}))]),
        Scripted::text("ok"),
    ]);
    rig.run_with([Double::reads("look", Deed::Crowd), Double::changes("change", Deed::Crowd)]).await;
    let expected = [
        "model p/default",
        "step `` [c1 look, c2 change, c3 look]",
        "start c1",
        "end c1 ok: 1",
        "start c2",
        "end c2 ok: 1",
        "start c3",
        "end c3 ok: 1",
    ];
    assert_eq!(rig.journal.written(), expected);
}

#[tokio::test]
async fn faults_are_told_to_the_model_and_the_turn_goes_on() {
    let broken = |id: &str, name: &str, arguments: &str| {
        [
            Chunk::ToolCall { index: 0, id: id.to_owned(), name: name.to_owned() },
            Chunk::ToolArguments { index: 0, text: arguments.to_owned() },
            Chunk::Finish(FinishReason::ToolCalls),
        ]
    };
    let cases = [
        ("loook", "{}", "error: there is no tool `loook`; the nearest are `look`, `lock`, `crash`"),
        (
            "look",
            "{\"n\":",
            "error: the arguments of `look` are not JSON: EOF while parsing a value at line 1 column 5",
        ),
        ("look", "{\"n\":\"x\"}", "error: the arguments of `look` do not fit: `n`: want integer, but got string"),
        ("look", "{\"m\":1}", "error: the arguments of `look` do not fit: additionalProperties 'm' not allowed"),
        ("lock", "{}", "error: the door is locked"),
        ("crash", "", "error: `crash` crashed; this is a fault of the tool, not of the call"),
    ];
    for (name, arguments, result) in cases {
        let rig = Rig::new([Scripted::chunks(broken("c1", name, arguments)), Scripted::text("I see")]);
        let tools = [
            Double::reads("look", Deed::Echo),
            Double::changes("lock", Deed::Fail),
            Double::changes("crash", Deed::Panic),
        ];
        assert_eq!(rig.run_with(tools).await, "completed stop: I see");
        assert_eq!(rig.results_told(), [result]);
        let written = rig.journal.written();
        assert_eq!(written[2..], ["start c1".to_owned(), format!("end c1 error: {result}")]);
        let told = rig.provider.requests()[1].messages.last().unwrap().clone();
        assert_eq!(told.metadata.get("is_error"), Some(&json!(true)));
    }
}

#[tokio::test]
async fn an_agent_without_tools_is_told_so() {
    let rig = Rig::new([Scripted::tool_calls([("c1", "fly", json!({}))]), Scripted::text("I see")]);
    rig.run_with([]).await;
    assert_eq!(rig.results_told(), ["error: there is no tool `fly`, nor any other"]);
}

#[tokio::test]
async fn long_output_loses_its_middle() {
    let rig = Rig::new([Scripted::tool_calls([("c1", "say", json!({}))]), Scripted::text("ok")]);
    rig.run_with([Double::reads("say", Deed::Say(format!("first{}last", "x".repeat(10_000))))]).await;
    let told = &rig.results_told()[0];
    let is_cut = told.starts_with("firstx") && told.ends_with("xlast") && told.contains("characters left out");
    assert!(is_cut && told.chars().count() <= 500, "{told}");
}

#[tokio::test]
async fn the_same_call_with_the_same_result_four_times_ends_the_turn() {
    let calls = ["{\"n\":1}", "{ \"n\" : 1 }", "{\"n\":1}", "{\"n\":1 }"];
    let answers = calls.map(|arguments| {
        Scripted::chunks([
            Chunk::ToolCall { index: 0, id: String::from("c"), name: String::from("look") },
            Chunk::ToolArguments { index: 0, text: arguments.to_owned() },
            Chunk::Finish(FinishReason::ToolCalls),
        ])
    });
    let rig = Rig::new(answers);
    let end = rig.run_with([Double::reads("look", Deed::Say(String::from("nothing")))]).await;
    let reason = "the model called `look` 4 times in a row with the same arguments and got the same result";
    assert_eq!(end, format!("failed ToolFailed None: {reason}"));
    assert_eq!(rig.journal.steps().len(), 4);
}

#[tokio::test]
async fn the_same_call_may_be_repeated_while_its_result_changes_or_others_come_between() {
    let same = || Scripted::tool_calls([("c", "count", json!({}))]);
    let other = || Scripted::tool_calls([("c", "say", json!({}))]);
    let tools = || {
        [
            Double::reads("count", Deed::Count(AtomicUsize::new(0))),
            Double::reads("say", Deed::Say(String::from("same"))),
        ]
    };
    let rig = Rig::new([same(), same(), same(), same(), same(), Scripted::text("ok")]);
    assert_eq!(rig.run_with(tools()).await, "completed stop: ok");
    let rig = Rig::new([other(), other(), other(), same(), other(), other(), other(), Scripted::text("ok")]);
    assert_eq!(rig.run_with(tools()).await, "completed stop: ok");
}
