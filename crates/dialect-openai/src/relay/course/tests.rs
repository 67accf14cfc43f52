use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const WISHES: Wishes = Wishes { usage: true, choices: 1, prompt_bytes: 10 };

/// What the client is told of a stream that comes in these pieces and ends.
fn told_with(wishes: Wishes, pieces: &[&[u8]]) -> String {
    let mut course = Course::new("p/\"m\"", wishes);
    let mut out = Vec::new();
    for piece in pieces {
        course.feed(piece);
        out.extend(course.take());
    }
    if !course.is_over() {
        course.end();
    }
    out.extend(course.take());
    String::from_utf8(out).unwrap()
}

fn told(text: &str) -> String {
    told_with(WISHES, &[text.as_bytes()])
}

/// The events of what was told, read.
fn events(text: &str) -> Vec<Value> {
    let datas = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    datas.map(|data| if data == "[DONE]" { json!("[DONE]") } else { serde_json::from_str(data).unwrap() }).collect()
}

fn chunk(choices: &str) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":{choices}}}\n\n"
    )
}

fn owed(choices: Value) -> Value {
    json!({ "id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "p/\"m\"", "choices": choices })
}

const ROLE: &str = r#"[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]"#;
const HELLO: &str = r#"[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]"#;
const STOP: &str = r#"[{"index":0,"delta":{},"finish_reason":"stop"}]"#;
const DONE_LINE: &str = "data: [DONE]\n\n";

fn failed() -> Value {
    json!({ "error": { "message": "Internal server error", "type": "server_error", "param": null, "code": null } })
}

#[test]
fn a_good_stream_goes_through_with_the_other_name_and_nothing_else_changed() {
    let usage = "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
    let stream = [chunk(ROLE), chunk(HELLO), chunk(HELLO), chunk(STOP), usage.into(), DONE_LINE.into()].concat();
    assert_eq!(told(&stream), stream.replace("\"model\":\"m\"", r#""model":"p/\"m\"""#));
}

#[test]
fn a_missing_role_is_told_first() {
    let stream = [chunk(HELLO), chunk(STOP), DONE_LINE.into()].concat();
    let seen = events(&told(&stream));
    assert_eq!(seen[0], owed(json!([{ "index": 0, "delta": { "role": "assistant" }, "finish_reason": null }])));
    assert_eq!(seen[1]["choices"][0]["delta"], json!({ "content": "Hello" }));
}

#[test]
fn each_choice_gets_its_role_and_its_end() {
    let second = r#"[{"index":1,"delta":{"content":"Hi"},"finish_reason":null}]"#;
    let stream = [chunk(ROLE), chunk(HELLO), chunk(second), chunk(second), chunk(STOP), DONE_LINE.into()].concat();
    let seen = events(&told_with(Wishes { usage: false, choices: 2, prompt_bytes: 0 }, &[stream.as_bytes()]));
    let deltas: Vec<_> = seen[..seen.len() - 1]
        .iter()
        .map(|event| {
            let choice = &event["choices"][0];
            (choice["index"].as_u64().unwrap(), choice["delta"].clone(), choice["finish_reason"].clone())
        })
        .collect();
    let role = json!({ "role": "assistant" });
    let expected = [
        (0, json!({ "role": "assistant", "content": "" }), json!(null)),
        (0, json!({ "content": "Hello" }), json!(null)),
        (1, role, json!(null)),
        (1, json!({ "content": "Hi" }), json!(null)),
        (1, json!({ "content": "Hi" }), json!(null)),
        (0, json!({}), json!("stop")),
        (1, json!({}), json!("stop")),
    ];
    assert_eq!(deltas, expected);
}

#[test]
fn a_missing_finish_reason_and_missing_usage_are_added() {
    let seen = events(&told(&[chunk(ROLE), chunk(HELLO), chunk(HELLO), DONE_LINE.into()].concat()));
    assert_eq!(seen[3], owed(json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }])));
    let mut usage = owed(json!([]));
    usage["usage"] = json!({ "prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6 });
    assert_eq!(seen[4..], [usage, json!("[DONE]")]);
}

#[test]
fn an_answer_of_calls_ends_with_tool_calls() {
    let call = r#"[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]},"finish_reason":null}]"#;
    for start in [chunk(ROLE) + &chunk(call), chunk(ROLE) + &chunk(HELLO) + &chunk(call)] {
        let seen = events(&told(&(start + DONE_LINE)));
        assert_eq!(seen[seen.len() - 3]["choices"][0]["finish_reason"], "tool_calls");
    }
}

#[test]
fn usage_that_nobody_wants_is_not_added_but_goes_through() {
    let unwanted = Wishes { usage: false, ..WISHES };
    let stream = [chunk(ROLE), chunk(STOP), DONE_LINE.into()].concat();
    assert_eq!(events(&told_with(unwanted, &[stream.as_bytes()])).len(), 3);
    let stream = stream.replace(STOP, &format!("{STOP},\"usage\":{{\"total_tokens\":2}}"));
    assert!(told_with(unwanted, &[stream.as_bytes()]).contains("\"total_tokens\":2"));
    assert_eq!(events(&told(&stream)).len(), 3, "usage beside the finish reason is usage");
}

#[test]
fn an_end_after_the_finish_reason_is_a_good_end() {
    let seen = events(&told(&[chunk(ROLE), chunk(STOP)].concat()));
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[3], "[DONE]");
    let unterminated = [chunk(ROLE), chunk(STOP)].concat() + "data: [DONE]";
    assert_eq!(events(&told(&unterminated)), seen);
}

#[test]
fn cut_empty_and_malformed_streams_say_so() {
    let cut = chunk(ROLE) + &chunk(HELLO);
    let half = chunk(HELLO)[..40].to_owned();
    for (stream, before) in [
        (String::new(), 0),
        (DONE_LINE.into(), 0),
        (": hello\n\n".into(), 0),
        (cut.clone(), 2),
        (cut.clone() + &half, 2),
        (cut.clone() + "data: garbage\n\n" + &chunk(HELLO), 2),
        (cut.clone() + "data: [1]\n\ndata: 7\n\n", 2),
        (cut.clone() + "data: {\"choices\":{}}\n\n", 2),
        (cut + "<html>\n\n", 2),
    ] {
        let seen = events(&told(&stream));
        assert_eq!(seen[before..], [failed(), json!("[DONE]")], "{stream}");
    }
}

#[test]
fn an_error_of_the_upstream_goes_through_and_ends_the_stream() {
    let stream = chunk(ROLE) + "data: {\"error\":{\"message\":\"overloaded\"}}\n\n" + &chunk(STOP) + DONE_LINE;
    let seen = events(&told(&stream));
    assert_eq!(seen[1..], [json!({ "error": { "message": "overloaded" } }), json!("[DONE]")]);
    // The same with the usual beginning.
    let inside = chunk(&format!("{HELLO},\"error\":{{\"code\":502}}"));
    let seen = events(&told(&(chunk(ROLE) + &chunk(HELLO) + &inside + &chunk(STOP))));
    assert_eq!((seen.len(), &seen[2]["error"], &seen[2]["model"]), (4, &json!({ "code": 502 }), &json!("p/\"m\"")));
}

#[test]
fn the_name_is_replaced_wherever_it_stands_and_added_where_it_is_missing() {
    let late = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\\\"model\\\":\\\"m\\\"\",\"model\":\"inner\"}}],\"model\" : \"m\"}\n\n";
    let none = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let null = "data: {\"model\":null,\"choices\":[]}\n\n";
    let other = "data: {\"model\":\"m2\",\"choices\":[{\"delta\":{\"content\":\"y\"}}]}\n\n";
    let seen = told(&[late, none, null, other, &chunk(STOP), DONE_LINE].concat());
    let models: Vec<Value> = events(&seen).iter().filter_map(|event| event.get("model").cloned()).collect();
    assert_eq!(models, vec![json!("p/\"m\""); 6]);
    assert!(seen.contains(r#""model":"inner""#) && seen.contains(r#"\"model\":\"m\""#));
}

#[test]
fn comments_and_other_fields_go_through() {
    let stream = format!(": PROCESSING\n\nevent: chunk\n{}{}{DONE_LINE}", chunk(ROLE), chunk(STOP));
    let seen = told_with(Wishes { usage: false, ..WISHES }, &[stream.as_bytes()]);
    assert!(seen.starts_with(": PROCESSING\n\nevent: chunk\ndata: {"), "{seen}");
}

#[test]
fn nothing_follows_the_end() {
    let stream = [chunk(ROLE), chunk(STOP), DONE_LINE.into(), chunk(HELLO), DONE_LINE.into()].concat();
    assert_eq!(told(&stream).matches("[DONE]").count(), 1);
    assert!(!told(&stream).contains("Hello"));
}

#[test]
fn content_that_looks_like_fields_is_content() {
    let tricky = r#"[{"index":0,"delta":{"content":"\"finish_reason\":\"stop\",\"usage\":{},\"error\":{}"},"finish_reason":null}]"#;
    let seen = events(&told(&[chunk(ROLE), chunk(tricky), chunk(tricky), chunk(STOP), DONE_LINE.into()].concat()));
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[1], seen[2]);
    assert!(seen[4]["usage"].is_object());
}

proptest! {
    #[test]
    fn any_split_of_the_upstreams_bytes_tells_the_same(
        parts in prop::collection::vec(0_usize..14, 0..12),
        ending in 0_usize..3,
        choices in 1_u32..3,
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let second = r#"[{"index":1,"delta":{"content":"é🐴"},"finish_reason":null}]"#;
        let pretty = chunk(HELLO).replace(",\"choices\"", ",\ndata: \"choices\"");
        let pool = [
            chunk(ROLE), chunk(HELLO), chunk(HELLO), chunk(STOP), chunk(second), chunk("[]"), pretty,
            "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"a\":1}}\n\n".into(),
            ": comment\n\n".into(), "event: x\n".into(), "data: {\"x\":1}\n\n".into(), DONE_LINE.into(),
            "data: {\"error\":\"e\"}\n\n".into(), "data: garb".into(),
        ];
        let stream: String = parts.iter().map(|part| pool[*part].as_str()).collect();
        let stream = match ending {
            0 => stream,
            1 => stream.replace('\n', "\r\n"),
            _ => stream.replace('\n', "\r"),
        };
        let bytes = stream.as_bytes();
        let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let wishes = Wishes { choices, ..WISHES };
        let whole = told_with(wishes, &[bytes]);
        prop_assert_eq!(told_with(wishes, &pieces), whole.clone());
        prop_assert!(whole.ends_with(DONE_LINE));
        prop_assert_eq!(whole.matches(DONE_LINE).count(), 1);
    }

    #[test]
    fn any_bytes_are_survived_and_end_in_done(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut course = Course::new("m", WISHES);
        course.feed(&bytes);
        if !course.is_over() {
            course.end();
        }
        prop_assert!(course.take().ends_with(DONE));
    }
}
