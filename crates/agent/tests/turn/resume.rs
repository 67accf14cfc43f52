//! Turns that are taken up after a restart.

use agent::Turn;
use model::{NewMessage, Role, ToolCall, Usage};
use providers::testkit::Scripted;

use crate::rig::{Deed, Double, Rig, checked, open, told};

#[tokio::test]
async fn open_calls_come_first_each_by_what_is_known_of_it() {
    let rig = Rig::new([Scripted::text("done")]);
    rig.journal.give_inputs(["more"]);
    let call = |id: &str| ToolCall { id: id.to_owned(), name: String::from("x"), arguments: String::from("{}") };
    let asking =
        NewMessage { tool_calls: ["c0", "c1", "c2", "c3", "c4", "c5"].map(call).to_vec(), ..NewMessage::assistant("") };
    let turn = Turn {
        history: vec![NewMessage::user("hello"), asking, NewMessage::tool_result("c0", "known")],
        open_calls: vec![
            open("c1", "look", true),
            open("c2", "change", true),
            open("c3", "change", false),
            open("c4", "gone", true),
            open("c5", "gone", false),
        ],
        tools: vec![checked(Double::reads("look", Deed::Echo)), checked(Double::changes("change", Deed::Echo))],
        iterations: 4,
        usage: Usage { input: 100, output: 10, ..Usage::default() },
        ..rig.turn()
    };
    let outcome = rig.run(turn).await;
    assert_eq!((told(&outcome.end).as_str(), outcome.iterations), ("completed stop: done", 5));
    assert_eq!((outcome.usage.input, outcome.usage.output), (110, 11));

    let written = rig.journal.written();
    let short: Vec<&str> = written.iter().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = [
        "start c1",
        "end c1 ok",
        "end c2 interrupted",
        "start c3",
        "end c3 ok",
        "end c4 interrupted",
        "start c5",
        "end c5 error",
        "model p/default",
    ];
    assert_eq!(short, expected);
    let told = rig.results_told();
    assert_eq!((told[0].as_str(), told[1].as_str(), told[3].as_str()), ("known", "look {}", "change {}"));
    assert!(told[2].contains("restarted while this tool ran") && told[2].contains("unknown"), "{}", told[2]);
    let last = rig.provider.requests()[0].messages.last().unwrap().clone();
    assert_eq!((last.role, last.content.text().into_owned()), (Role::User, String::from("more")));
}

#[tokio::test]
async fn a_turn_whose_calls_are_all_done_just_goes_on() {
    let rig = Rig::new([Scripted::text("done")]);
    let call = ToolCall { id: String::from("c1"), name: String::from("look"), arguments: String::from("{}") };
    let history = vec![
        NewMessage::user("hello"),
        NewMessage { tool_calls: vec![call], ..NewMessage::assistant("") },
        NewMessage::tool_result("c1", "seen"),
    ];
    let outcome = rig.run(Turn { history, iterations: 1, ..rig.turn() }).await;
    assert_eq!(told(&outcome.end), "completed stop: done");
    assert_eq!(rig.journal.written(), ["model p/default"]);
    assert_eq!(rig.results_told(), ["seen"]);
}
