use model::Reasoning;
use proptest::prelude::*;

use super::*;

fn call(id: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: String::from("x"), arguments: String::from("{}") }
}

fn asks<const N: usize>(ids: [&str; N]) -> NewMessage {
    NewMessage { tool_calls: ids.map(call).to_vec(), ..NewMessage::assistant("") }
}

#[test]
fn results_are_brought_behind_their_calls_and_missing_ones_filled_in() {
    let history = [
        NewMessage::tool_result("gone", "orphan"),
        NewMessage::user("one"),
        asks(["a", "b"]),
        NewMessage::user("two"),
        NewMessage::tool_result("a", "result of a"),
    ];
    let expected = [
        NewMessage::user("one"),
        asks(["a", "b"]),
        NewMessage::tool_result("a", "result of a"),
        NewMessage::tool_result("b", NO_RESULT),
        NewMessage::user("two"),
    ];
    assert_eq!(for_provider(&history, "p"), expected);
}

#[test]
fn reasoning_goes_back_only_to_its_own_provider() {
    let reasoning = Reasoning { text: String::from("hm"), blocks: vec![serde_json::json!({"signature": "s"})] };
    let message = NewMessage { reasoning: Some(reasoning), model: Some("p/m".into()), ..NewMessage::assistant("x") };
    let kept = |provider: &str| for_provider(std::slice::from_ref(&message), provider)[0].reasoning.is_some();
    assert_eq!([kept("p"), kept("q"), kept("")], [true, false, false]);
}

#[test]
fn ids_become_unique_and_legal_and_stay_when_they_are() {
    let history = [asks(["call_0"]), NewMessage::tool_result("call_0", "x")];
    let mut calls = ["call_0", "call_0", "", "new", " x ", &"y".repeat(300)].map(call).to_vec();
    make_ids_unique(&mut calls, &history);
    let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["call_0_2", "call_0_3", "call", "new", "call_2", "call_3"]);
}

fn any_message() -> impl Strategy<Value = NewMessage> {
    let ids = || prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..3);
    prop_oneof![
        Just(NewMessage::user("u")),
        Just(NewMessage::assistant("t")),
        ids().prop_map(|ids| NewMessage {
            tool_calls: ids.into_iter().map(call).collect(),
            ..NewMessage::assistant("")
        }),
        ids().prop_map(|ids| NewMessage::tool_result(ids[0], "r")),
    ]
}

proptest! {
    #[test]
    fn every_call_is_answered_at_once_and_nothing_else_is(history in prop::collection::vec(any_message(), 0..20)) {
        let mut expected: Vec<String> = Vec::new();
        for message in for_provider(&history, "p") {
            if message.role == Role::Tool {
                prop_assert!(!expected.is_empty());
                prop_assert_eq!(message.tool_call_id, Some(expected.remove(0)));
            } else {
                prop_assert!(expected.is_empty());
                expected = message.tool_calls.into_iter().map(|call| call.id).collect();
            }
        }
        prop_assert!(expected.is_empty());
    }
}
