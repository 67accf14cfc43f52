//! The ordinary way: answers, steps, inputs, limits.

use agent::{Turn, TurnEnd, TurnLimits, TurnOutcome};
use model::{EndReason, ModelRef, NewMessage, Reasoning, Role, Thinking, Usage};
use providers::testkit::Scripted;
use providers::{Chunk, FinishReason};
use serde_json::json;

use crate::rig::{Deed, Double, Rig, checked, told};

#[tokio::test]
async fn an_answer_is_streamed_and_completes_the_turn() {
    let rig = Rig::new([Scripted::text("Hi there friend")]);
    let outcome = rig.run(rig.turn()).await;
    let usage = Usage { input: 10, output: 3, ..Usage::default() };
    let message =
        NewMessage { usage: Some(usage), model: Some("p/default".into()), ..NewMessage::assistant("Hi there friend") };
    let expected = TurnOutcome {
        end: TurnEnd::Completed { message, reason: EndReason::Stop },
        model: Some(ModelRef::new("p", "default")),
        iterations: 1,
        usage,
    };
    assert_eq!(outcome, expected);
    assert_eq!(rig.journal.lines(), ["model p/default", "text Hi ", "text there friend"]);
    let request = &rig.provider.requests()[0];
    assert_eq!(request.messages, [NewMessage::system("Be brief."), NewMessage::user("hello")]);
    assert_eq!((request.model.as_str(), request.thinking), ("default", Some(Thinking::Medium)));
}

#[tokio::test]
async fn tools_are_called_until_the_model_is_content() {
    let rig = Rig::new([
        Scripted::tool_calls([("c1", "look", json!({"n": 1}))]),
        Scripted::tool_calls([("c2", "look", json!({"n": 2}))]),
        Scripted::text("Done"),
    ]);
    let end = rig.run_with([Double::reads("look", Deed::Echo)]).await;
    assert_eq!(end, "completed stop: Done");
    let written = [
        "model p/default",
        "step `` [c1 look]",
        "start c1",
        "end c1 ok: look {\"n\":1}",
        "step `` [c2 look]",
        "start c2",
        "end c2 ok: look {\"n\":2}",
    ];
    assert_eq!(rig.journal.written(), written);
    let roles: Vec<Role> = rig.provider.requests()[2].messages.iter().map(|message| message.role).collect();
    use Role::{Assistant, System, Tool, User};
    assert_eq!(roles, [System, User, Assistant, Tool, Assistant, Tool]);
    let steps: Vec<_> = rig.journal.steps().iter().map(|step| (step.iterations, step.usage.input)).collect();
    assert_eq!(steps, [(1, 10), (2, 20)]);
}

#[tokio::test]
async fn a_turn_with_tools_tells_the_model_about_them() {
    let rig = Rig::new([Scripted::text("ok")]);
    rig.run_with([Double::reads("look", Deed::Echo)]).await;
    let request = &rig.provider.requests()[0];
    assert_eq!(request.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["look"]);
    let system = request.messages[0].content.text().into_owned();
    assert_eq!(system, format!("Be brief.\n\n{}", agent::prompt::TOOL_GUIDANCE));
}

#[tokio::test]
async fn inputs_join_at_the_next_step_and_after_the_last_answer() {
    let rig = Rig::new([
        Scripted::tool_calls([("c1", "look", json!({}))]),
        Scripted::text("first"),
        Scripted::text("second"),
    ]);
    rig.journal.give_inputs(["", "and this", "one more"]);
    let end = rig.run_with([Double::reads("look", Deed::Echo)]).await;
    assert_eq!(end, "completed stop: second");
    let requests = rig.provider.requests();
    let users = |at: usize| {
        let messages = requests[at].messages.iter().filter(|message| message.role == Role::User);
        messages.map(|message| message.content.text().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!([users(0), users(1)], [vec!["hello"], vec!["hello", "and this"]]);
    let last: Vec<_> = requests[2].messages.iter().rev().take(2).map(|message| message.content.text()).collect();
    assert_eq!(last, ["one more", "first"]);
    assert_eq!(rig.journal.written().last().unwrap(), "step `first` []");
}

#[tokio::test]
async fn input_that_comes_at_the_limit_is_left_for_the_caller() {
    let rig = Rig::new([Scripted::text("first")]);
    rig.journal.give_inputs(["", "late"]);
    let limits = TurnLimits { iterations: 1, tokens: None, tool_output_chars: 100 };
    let outcome = rig.run(Turn { limits, ..rig.turn() }).await;
    assert_eq!(told(&outcome.end), "completed stop: first");
    assert_eq!(rig.journal.written(), ["model p/default"]);
}

#[tokio::test]
async fn the_limit_of_model_calls_ends_the_turn_with_its_number() {
    let rig = Rig::new([Scripted::tool_calls([("c1", "look", json!({}))])]);
    let limits = TurnLimits { iterations: 3, tokens: None, tool_output_chars: 100 };
    let tools = vec![checked(Double::reads("look", Deed::Echo))];
    let outcome = rig.run(Turn { limits, tools, iterations: 2, ..rig.turn() }).await;
    assert_eq!(told(&outcome.end), "failed Conflict None: the run reached its limit of 3 model calls");
    assert_eq!((outcome.iterations, rig.provider.requests().len()), (3, 1));
}

#[tokio::test]
async fn the_limit_of_tokens_counts_what_was_used_before_and_what_the_vendor_does_not_tell() {
    let rig = Rig::new([
        Scripted::tool_calls([("c1", "look", json!({}))]),
        Scripted::chunks([
            Chunk::Text("x".repeat(400)),
            Chunk::ToolCall { index: 0, id: String::from("c2"), name: String::from("look") },
            Chunk::Finish(FinishReason::ToolCalls),
        ]),
    ]);
    let limits = TurnLimits { iterations: 9, tokens: Some(200), tool_output_chars: 100 };
    let tools = vec![checked(Double::reads("look", Deed::Echo))];
    let usage = Usage { input: 50, output: 30, ..Usage::default() };
    let outcome = rig.run(Turn { limits, tools, usage, ..rig.turn() }).await;
    let end = told(&outcome.end);
    assert!(end.starts_with("failed Conflict None: the run used 2") && end.ends_with("its limit of 200"), "{end}");
    assert!(outcome.usage.output >= 130 && rig.journal.steps()[1].message.usage.is_none(), "{:?}", outcome.usage);
}

#[tokio::test]
async fn why_a_model_stopped_is_told() {
    for (finish, reason) in [
        (FinishReason::Stop, EndReason::Stop),
        (FinishReason::ToolCalls, EndReason::Stop),
        (FinishReason::Length, EndReason::Length),
        (FinishReason::ContentFilter, EndReason::ContentFilter),
    ] {
        let rig = Rig::new([Scripted::chunks([Chunk::Text(String::from("x")), Chunk::Finish(finish)])]);
        assert_eq!(told(&rig.run(rig.turn()).await.end), format!("completed {}: x", reason.as_str()));
    }
}

#[tokio::test]
async fn calls_that_a_filter_cut_are_not_run() {
    let rig = Rig::new([Scripted::chunks([
        Chunk::ToolCall { index: 0, id: String::from("c1"), name: String::from("look") },
        Chunk::Finish(FinishReason::ContentFilter),
    ])]);
    assert_eq!(rig.run_with([Double::changes("look", Deed::Echo)]).await, "completed content_filter: ");
    assert_eq!(rig.journal.written(), ["model p/default"]);
}

#[tokio::test]
async fn an_empty_answer_is_asked_for_once_more() {
    let empty = || Scripted::chunks([Chunk::Finish(FinishReason::Stop)]);
    let rig = Rig::new([empty(), Scripted::text("now")]);
    assert_eq!(rig.run_with([]).await, "completed stop: now");
    let rig = Rig::new([empty(), empty(), Scripted::text("too late")]);
    let outcome = rig.run(rig.turn()).await;
    assert_eq!((told(&outcome.end).as_str(), outcome.iterations), ("completed stop: ", 2));
    assert_eq!(rig.provider.answers_left(), 1);
}

#[tokio::test]
async fn reasoning_is_shown_and_its_blocks_go_back_with_the_next_request() {
    let block = json!({"type": "thinking", "signature": "abc"});
    let answer = || {
        Scripted::chunks([
            Chunk::Reasoning(String::from("hm ")),
            Chunk::Reasoning(String::from("yes")),
            Chunk::ReasoningBlock(json!({"type": "thinking", "signature": "abc"})),
            Chunk::ToolCall { index: 0, id: String::from("c1"), name: String::from("look") },
            Chunk::Finish(FinishReason::ToolCalls),
        ])
    };
    for (thinking, text, shown) in [(Thinking::Low, "hm yes", 2), (Thinking::Off, "", 0)] {
        let rig = Rig::new([answer(), Scripted::text("done")]);
        let tools = vec![checked(Double::reads("look", Deed::Echo))];
        rig.run(Turn { thinking, tools, ..rig.turn() }).await;
        let lines = rig.journal.lines();
        assert_eq!(lines.iter().filter(|line| line.starts_with("reasoning ")).count(), shown, "{lines:?}");
        let sent = &rig.provider.requests()[1];
        assert_eq!(sent.thinking, Some(thinking));
        let reasoning = Reasoning { text: text.to_owned(), blocks: vec![block.clone()] };
        assert_eq!(sent.messages[2].reasoning, Some(reasoning));
    }
}

#[tokio::test]
async fn calls_with_numbers_that_repeat_get_ids_of_their_own() {
    let again = || Scripted::tool_calls([("call_0", "look", json!({"n": 1})), ("call_0", "look", json!({"n": 2}))]);
    let rig = Rig::new([again(), again(), Scripted::text("done")]);
    rig.run_with([Double::reads("look", Deed::Echo)]).await;
    let ids: Vec<String> =
        rig.journal.steps().into_iter().flat_map(|step| step.message.tool_calls).map(|call| call.id).collect();
    assert_eq!(ids, ["call_0", "call_0_2", "call_0_3", "call_0_4"]);
    let one = "look {\"n\":1}";
    let two = "look {\"n\":2}";
    assert_eq!(rig.results_told(), [one, two, one, two]);
}

#[tokio::test]
async fn without_a_model_the_turn_fails_in_words() {
    let rig = Rig::new([]);
    let outcome = rig.run(Turn { candidates: Vec::new(), ..rig.turn() }).await;
    assert_eq!(told(&outcome.end), "failed NotFound(Model) None: no model is configured for this agent");
    assert_eq!(outcome.model, None);
}
