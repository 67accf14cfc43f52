//! A cancelled turn ends at once and leaves nothing open.

use std::sync::Arc;

use agent::Turn;
use providers::testkit::{Gate, Scripted};
use serde_json::json;

use crate::rig::{Compaction, Deed, Double, Rig, checked, open, told};

/// Runs the usual turn with these tools and cancels it when the journal has such a line.
async fn cancelled_at<const N: usize>(rig: Rig, tools: [Double; N], line: &str) -> (String, Arc<Rig>) {
    let rig = Arc::new(rig);
    let running = tokio::spawn({
        let rig = Arc::clone(&rig);
        async move { rig.run_with(tools).await }
    });
    rig.journal.wait_for(line).await;
    rig.bench.cancel.cancel();
    (running.await.unwrap(), rig)
}

#[tokio::test]
async fn cancelled_before_it_begins_it_asks_nobody_and_closes_open_calls() {
    let rig = Rig::new([]);
    rig.bench.cancel.cancel();
    rig.journal.give_inputs(["stays"]);
    let open_calls = vec![open("c1", "look", true), open("c2", "look", false), open("c3", "gone", true)];
    let tools = vec![checked(Double::reads("look", Deed::Echo))];
    let outcome = rig.run(Turn { open_calls, tools, ..rig.turn() }).await;
    assert_eq!(told(&outcome.end), "cancelled None");
    assert!(rig.provider.requests().is_empty());
    let written = rig.journal.written();
    assert_eq!(written[..2], ["end c1 error: cancelled before it began", "end c2 error: cancelled before it began"]);
    assert!(written[2].starts_with("end c3 interrupted: ") && written.len() == 3, "{written:?}");
}

#[tokio::test]
async fn cancelled_while_the_model_is_silent() {
    let gate = Gate::new();
    let rig = Arc::new(Rig::new([Scripted::held(&gate, "never said")]));
    let running = tokio::spawn({
        let rig = Arc::clone(&rig);
        async move { told(&rig.run(rig.turn()).await.end) }
    });
    gate.reached().await;
    rig.bench.cancel.cancel();
    assert_eq!(running.await.unwrap(), "cancelled None");
    assert_eq!((rig.provider.open_streams(), rig.provider.dropped_streams()), (0, 1));
}

#[tokio::test]
async fn cancelled_in_the_middle_of_an_answer_it_keeps_the_text_so_far() {
    let gate = Gate::new();
    let rig = Rig::new([Scripted::chunks([]).then_text("half an answer").then_wait(&gate).then_text(" more")]);
    let (end, rig) = cancelled_at(rig, [], "text an answer").await;
    assert_eq!(end, "cancelled Some(\"half an answer\")");
    assert_eq!((rig.provider.open_streams(), rig.provider.dropped_streams()), (0, 1));
}

#[tokio::test]
async fn a_partial_answer_is_marked_and_paid_for() {
    let gate = Gate::new();
    let rig = Arc::new(Rig::new([Scripted::chunks([]).then_text("half").then_wait(&gate)]));
    let running = tokio::spawn({
        let rig = Arc::clone(&rig);
        async move { rig.run(rig.turn()).await }
    });
    rig.journal.wait_for("text half").await;
    rig.bench.cancel.cancel();
    let outcome = running.await.unwrap();
    let agent::TurnEnd::Cancelled { partial: Some(partial) } = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(partial.metadata.get("partial"), Some(&json!(true)));
    assert_eq!(partial.model.as_deref(), Some("p/default"));
    assert_eq!((outcome.usage.output, outcome.iterations), (1, 1));
}

#[tokio::test]
async fn cancelled_during_a_tool_every_call_is_closed() {
    let calls = || Scripted::tool_calls([("c1", "wait", json!({})), ("c2", "wait", json!({})), ("c3", "x", json!({}))]);
    let (end, rig) =
        cancelled_at(Rig::new([calls()]), [Double::changes("wait", Deed::UntilCancelled)], "start c1").await;
    assert_eq!(end, "cancelled None");
    let expected = [
        "start c1",
        "end c1 error: cancelled",
        "end c2 error: cancelled before it began",
        "end c3 error: cancelled before it began",
    ];
    assert_eq!(rig.journal.written()[2..], expected);
    assert_eq!(rig.provider.requests().len(), 1);
}

#[tokio::test]
async fn cancelled_during_parallel_tools_every_call_is_closed() {
    let calls = Scripted::tool_calls([("c1", "wait", json!({})), ("c2", "wait", json!({}))]);
    let (end, rig) = cancelled_at(Rig::new([calls]), [Double::reads("wait", Deed::UntilCancelled)], "start c2").await;
    assert_eq!(end, "cancelled None");
    let expected = ["start c1", "start c2", "end c1 error: cancelled", "end c2 error: cancelled"];
    assert_eq!(rig.journal.written()[2..], expected);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_does_not_listen_is_dropped_after_a_while() {
    let calls = Scripted::tool_calls([("c1", "deaf", json!({}))]);
    let (end, rig) = cancelled_at(Rig::new([calls]), [Double::reads("deaf", Deed::Deaf)], "start c1").await;
    assert_eq!(end, "cancelled None");
    assert_eq!(rig.journal.written()[2..], ["start c1", "end c1 error: cancelled"]);
}

#[tokio::test]
async fn a_tool_that_did_its_work_while_the_run_was_cancelled_says_so() {
    let calls = Scripted::tool_calls([("c1", "work", json!({}))]);
    let (end, rig) = cancelled_at(Rig::new([calls]), [Double::changes("work", Deed::FinishesAnyway)], "start c1").await;
    assert_eq!(end, "cancelled None");
    assert_eq!(rig.journal.written()[2..], ["start c1", "end c1 ok: done before I noticed"]);
}

#[tokio::test]
async fn cancelled_during_a_compaction() {
    let rig = Rig::new([Scripted::refuse(providers::ProviderErrorKind::ContextTooLong, "too long")]);
    rig.journal.will_compact([Compaction::NeverEnds]);
    let (end, _) = cancelled_at(rig, [], "compact").await;
    assert_eq!(end, "cancelled None");
}
