//! Providers that refuse, break off or say nonsense; a journal that cannot write.

use agent::Turn;
use model::ModelRef;
use providers::ProviderErrorKind::{self, Auth, Cut, ModelNotFound, Overloaded};
use providers::testkit::{Scripted, ScriptedProvider};
use providers::{Chunk, FinishReason, ProviderError};
use serde_json::json;

use crate::rig::{Deed, Double, Rig, checked, told};

fn breaks_silently(kind: ProviderErrorKind) -> Scripted {
    let error = ProviderError::new("p", kind, "the line went dead");
    Scripted::chunks([
        Chunk::Reasoning(String::from("hm")),
        Chunk::ToolCall { index: 0, id: String::from("c0"), name: String::from("look") },
    ])
    .then(providers::testkit::Step::Fail(error))
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_before_its_first_word_is_asked_for_again() {
    let rig = Rig::new([breaks_silently(Cut), breaks_silently(Overloaded), Scripted::text("at last")]);
    let outcome = rig.run(rig.turn()).await;
    assert_eq!((told(&outcome.end).as_str(), outcome.iterations), ("completed stop: at last", 3));
    assert_eq!(rig.journal.written(), ["model p/default"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_not_asked_for_for_ever() {
    let rig = Rig::new([breaks_silently(Cut), breaks_silently(Cut), breaks_silently(Cut), Scripted::text("too late")]);
    let outcome = rig.run(rig.turn()).await;
    assert_eq!(told(&outcome.end), "failed ProviderFailed None: p: the line went dead");
    assert_eq!(rig.provider.answers_left(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_after_its_first_word_fails_with_what_was_said() {
    let rig = Rig::new([Scripted::breaks_after("half an", Cut), Scripted::text("never asked for")]);
    let outcome = rig.run(rig.turn()).await;
    assert_eq!(told(&outcome.end), "failed ProviderFailed Some(\"half an\"): p: the scripted answer broke off");
    assert_eq!(rig.provider.answers_left(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_will_not_pass_is_not_retried() {
    let rig = Rig::new([breaks_silently(Auth), Scripted::text("never asked for")]);
    assert_eq!(rig.run_with([]).await, "failed ProviderRefused None: p: the line went dead");
    let rig = Rig::new([Scripted::refuse(ModelNotFound, "no such model"), Scripted::text("never asked for")]);
    assert_eq!(rig.run_with([]).await, "failed NotFound(Model) None: p: no such model");
    assert_eq!(rig.provider.answers_left(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_an_end_or_with_nonsense_is_a_fault() {
    let unfinished = || Scripted::chunks([Chunk::Text(String::from("so"))]);
    let rig = Rig::new([unfinished()]);
    assert_eq!(rig.run_with([]).await, "failed ProviderFailed Some(\"so\"): p: the answer ended before it was whole");

    let nonsense = || Scripted::chunks([Chunk::ToolArguments { index: 3, text: String::from("{}") }]);
    let rig = Rig::new([nonsense(), Scripted::text("better")]);
    assert_eq!(rig.run_with([]).await, "completed stop: better");
    let rig = Rig::new([nonsense(), nonsense(), nonsense()]);
    let reason = "p: the answer has arguments for tool call 3, which it did not begin";
    assert_eq!(rig.run_with([]).await, format!("failed ProviderFailed None: {reason}"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_stopped() {
    let rig = Rig::new([Scripted::chunks(vec![Chunk::Text("x".repeat(1 << 20)); 20])]);
    let end = rig.run_with([]).await;
    assert!(end.ends_with("p: the answer is longer than 16777216 bytes"), "{:.100}", end);
    let call = |index| Chunk::ToolCall { index, id: format!("c{index}"), name: String::from("x") };
    let many = || Scripted::chunks((0..200).map(call));
    let rig = Rig::new([many(), many(), many()]);
    let end = rig.run_with([]).await;
    assert_eq!(end, "failed ProviderFailed None: p: the answer asks for more than 128 tool calls");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_takes_over_is_named() {
    let first = ScriptedProvider::new("p")
        .answers([Scripted::tool_calls([("c1", "look", json!({}))]), Scripted::refuse(Auth, "the key was withdrawn")]);
    let second = ScriptedProvider::new("q").answer("from the other");
    let rig = Rig::with_providers(first, [second.clone()]);
    let candidates = vec![ModelRef::new("p", "default"), ModelRef::new("q", "small")];
    let tools = vec![checked(Double::reads("look", Deed::Echo))];
    let outcome = rig.run(Turn { candidates, tools, ..rig.turn() }).await;
    assert_eq!(told(&outcome.end), "completed stop: from the other");
    assert_eq!(outcome.model, Some(ModelRef::new("q", "small")));
    let written = rig.journal.written();
    assert_eq!((written[0].as_str(), written[4].as_str()), ("model p/default", "model q/small"));
    assert_eq!(second.requests()[0].model, "small");
}

#[tokio::test]
async fn when_the_journal_cannot_write_nothing_more_is_done() {
    for (line, asked) in [("model", 1), ("step", 1), ("start", 1), ("end", 1)] {
        let answers = [Scripted::tool_calls([("c1", "look", json!({}))]), Scripted::text("never asked for")];
        let rig = Rig::new(answers);
        rig.journal.fail_at(line);
        let tools = vec![checked(Double::reads("look", Deed::Echo))];
        let result = Turn { tools, ..rig.turn() }.run(&rig.router, &rig.journal).await;
        assert!(result.is_err(), "{line}");
        assert_eq!(rig.provider.requests().len(), asked, "{line}");
        assert_eq!(rig.provider.open_streams(), 0);
    }
}

#[tokio::test]
async fn calls_of_an_answer_that_ran_out_of_room_are_checked_like_others() {
    let rig = Rig::new([
        Scripted::chunks([
            Chunk::ToolCall { index: 0, id: String::from("c1"), name: String::from("look") },
            Chunk::ToolArguments { index: 0, text: String::from("{\"n\": 1") },
            Chunk::Finish(FinishReason::Length),
        ]),
        Scripted::text("I see"),
    ]);
    assert_eq!(rig.run_with([Double::changes("look", Deed::Echo)]).await, "completed stop: I see");
    assert!(rig.results_told()[0].starts_with("error: the arguments of `look` are not JSON"));
}
