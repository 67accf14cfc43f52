//! Conversations that outgrow the model.

use agent::Turn;
use model::NewMessage;
use providers::ProviderErrorKind::ContextTooLong;
use providers::testkit::{Scripted, ScriptedProvider};
use providers::{Capabilities, ModelInfo, ModelSource, ProviderError};
use serde_json::json;

use crate::rig::Compaction::Gives;
use crate::rig::{Deed, Double, Rig, checked, told};

/// A model with a window of 1,000 tokens, 900 of them for the conversation.
fn small<const N: usize>(answers: [Scripted; N]) -> Rig {
    let model = ModelInfo {
        id: String::from("default"),
        name: String::from("small"),
        capabilities: Capabilities::CHAT,
        context_window: Some(1000),
        max_output_tokens: Some(100),
        source: ModelSource::Config,
        notice: None,
    };
    Rig::with_providers(ScriptedProvider::new("p").with_models([model]).answers(answers), [])
}

fn of_tokens(tokens: usize) -> Vec<NewMessage> {
    vec![NewMessage::user("x".repeat(tokens * 4))]
}

async fn run(rig: &Rig, tokens: usize) -> String {
    told(&rig.run(Turn { history: of_tokens(tokens), ..rig.turn() }).await.end)
}

fn compactions(rig: &Rig) -> usize {
    rig.journal.lines().iter().filter(|line| *line == "compact").count()
}

#[tokio::test]
async fn a_conversation_near_the_end_of_the_window_is_compacted_first() {
    let rig = small([Scripted::text("ok")]);
    rig.journal.will_compact([Gives(Some(of_tokens(50)))]);
    assert_eq!(run(&rig, 730).await, "completed stop: ok");
    assert_eq!(rig.provider.requests()[0].messages[1..], of_tokens(50));

    let rig = small([Scripted::text("ok")]);
    assert_eq!(run(&rig, 700).await, "completed stop: ok");
    assert_eq!(compactions(&rig), 0);
}

#[tokio::test]
async fn what_still_fits_goes_on_when_nothing_can_be_gained() {
    let rig = small([Scripted::tool_calls([("c1", "look", json!({}))]), Scripted::text("ok")]);
    let tools = vec![checked(Double::reads("look", Deed::Echo))];
    // The guidance and the specification of the tool take their part, too.
    let outcome = rig.run(Turn { history: of_tokens(760), tools, ..rig.turn() }).await;
    assert_eq!(told(&outcome.end), "completed stop: ok");
    assert_eq!(compactions(&rig), 1, "not tried again for a few tokens more");
}

#[tokio::test]
async fn what_does_not_fit_after_two_compactions_fails_in_words() {
    let rig = small([]);
    rig.journal.will_compact([Gives(Some(of_tokens(990))), Gives(Some(of_tokens(950)))]);
    let reason = "the conversation has about 953 tokens and does not fit into `p/default`, which takes 900, also after compaction";
    assert_eq!(run(&rig, 2000).await, format!("failed Conflict None: {reason}"));
    assert_eq!((compactions(&rig), rig.provider.requests().len()), (2, 0));

    let rig = small([]);
    assert!(run(&rig, 2000).await.starts_with("failed Conflict None: the conversation has about 2003 tokens"));
    assert_eq!(compactions(&rig), 1);
}

#[tokio::test]
async fn the_second_compaction_may_be_enough() {
    let rig = small([Scripted::text("ok")]);
    rig.journal.will_compact([Gives(Some(of_tokens(990))), Gives(Some(of_tokens(850)))]);
    assert_eq!(run(&rig, 2000).await, "completed stop: ok");
    assert_eq!(compactions(&rig), 2);
}

#[tokio::test]
async fn a_vendor_that_finds_it_too_long_is_asked_again_after_compaction() {
    let refusal = || Scripted::refuse(ContextTooLong, "maximum context length is 500 tokens");
    let rig = small([refusal(), Scripted::text("ok")]);
    rig.journal.will_compact([Gives(Some(of_tokens(20)))]);
    assert_eq!(run(&rig, 600).await, "completed stop: ok");
    assert_eq!(rig.provider.requests()[1].messages[1..], of_tokens(20));

    let in_stream = ProviderError::new("p", ContextTooLong, "too long");
    let late = Scripted::chunks([providers::Chunk::Reasoning(String::from("hm"))])
        .then(providers::testkit::Step::Fail(in_stream));
    let rig = small([late, Scripted::text("ok")]);
    rig.journal.will_compact([Gives(Some(of_tokens(20)))]);
    assert_eq!(run(&rig, 600).await, "completed stop: ok");
}

#[tokio::test]
async fn a_vendor_that_keeps_finding_it_too_long_has_the_last_word() {
    let refusal = || Scripted::refuse(ContextTooLong, "too long");
    let rig = small([refusal(), refusal(), refusal(), Scripted::text("never asked for")]);
    rig.journal.will_compact([Gives(Some(of_tokens(400))), Gives(Some(of_tokens(300)))]);
    assert_eq!(run(&rig, 600).await, "failed Conflict None: p: too long");
    assert_eq!((compactions(&rig), rig.provider.answers_left()), (2, 1));

    let rig = small([refusal(), Scripted::text("never asked for")]);
    assert_eq!(run(&rig, 600).await, "failed Conflict None: p: too long");
    assert_eq!((compactions(&rig), rig.provider.answers_left()), (1, 1));
}

#[tokio::test]
async fn the_vendors_count_decides_when_it_is_known() {
    // The vendor counts 850 tokens where characters say 28.
    let counted = Scripted::chunks([
        providers::Chunk::ToolCall { index: 0, id: String::from("c1"), name: String::from("look") },
        providers::Chunk::Usage(model::Usage { input: 850, output: 5, ..model::Usage::default() }),
        providers::Chunk::Finish(providers::FinishReason::ToolCalls),
    ]);
    let rig = small([counted, Scripted::text("ok")]);
    rig.journal.will_compact([Gives(Some(of_tokens(10)))]);
    let end = rig.run_with([Double::reads("look", Deed::Echo)]).await;
    assert_eq!((end.as_str(), compactions(&rig)), ("completed stop: ok", 1));
    assert_eq!(rig.provider.requests()[1].messages[1..], of_tokens(10));
}
