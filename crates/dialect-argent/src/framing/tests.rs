use super::*;

/// What a frame is read as, in one line.
fn told(text: &str) -> String {
    match read(text) {
        Incoming::Request(request) => {
            let id = request.id.unwrap_or("-").to_owned();
            let reply = request.reply_to().id.map_or_else(|| String::from("nobody"), |id| id.to_string());
            let params = request.params.map_or("-", RawValue::get);
            format!("{:?} {} id {id} params {params} reply {reply}", request.form, request.method)
        }
        Incoming::Batch(elements) => format!("batch of {}", elements.len()),
        Incoming::Malformed(bad) => format!("{:?} {:?} {}", bad.form, bad.id.as_deref(), bad.reasons),
        Incoming::NotJson => String::from("not json"),
    }
}

#[test]
fn each_form_is_recognised_frame_by_frame() {
    let table = [
        (r#"{"type":"req","id":"1","method":"health"}"#, r#"Native health id "1" params - reply "1""#),
        (r#"{"type":"req","id":"1","method":"auth","params":{}}"#, r#"Native auth id "1" params {} reply "1""#),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"health","params":{"probe":true}}"#,
            r#"JsonRpc health id 7 params {"probe":true} reply 7"#,
        ),
        (r#"{"jsonrpc":"2.0","method":"health"}"#, "JsonRpc health id - params - reply nobody"),
        (r#"{"jsonrpc":"2.0","method":"connect"}"#, "JsonRpc connect id - params - reply null"),
        (r#"{"jsonrpc":"2.0","method":"auth"}"#, "JsonRpc auth id - params - reply null"),
        (r#"{"method":"health"}"#, "Bare health id - params - reply null"),
        (r#"{"id":-1.5,"method":"health"}"#, "Bare health id -1.5 params - reply -1.5"),
        (r#"{"id":"a\u0041","method":"he\u0061lth"}"#, r#"Bare health id "a\u0041" params - reply "a\u0041""#),
        ("[]", "Some(JsonRpc) None a batch holds 1 to 32 requests"),
        ("[1,2]", "batch of 2"),
        ("", "not json"),
        ("{", "not json"),
        ("[1,", "not json"),
        ("hello", "not json"),
    ];
    for (text, expected) in table {
        assert_eq!(told(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_request_says_why() {
    let table = [
        ("7", "None None must be object"),
        ("{}", "None None must have required property 'method'"),
        (r#"{"id":"x"}"#, r#"None Some("\"x\"") must have required property 'method'"#),
        (r#"{"type":"res","id":"1","method":"x"}"#, r#"Some(Native) Some("\"1\"") at /type: must be "req""#),
        (r#"{"type":"req","method":"x"}"#, "Some(Native) None must have required property 'id'"),
        (r#"{"type":"req","id":1,"method":"x"}"#, r#"Some(Native) Some("1") at /id: must be string"#),
        (r#"{"type":"req","id":"","method":"x"}"#, "Some(Native) None at /id: must NOT have fewer than 1 characters"),
        (
            r#"{"type":"req","id":"1","method":""}"#,
            r#"Some(Native) Some("\"1\"") at /method: must NOT have fewer than 1 characters"#,
        ),
        (r#"{"type":1,"id":"1","method":"x"}"#, r#"None Some("\"1\"") at /type: must be string"#),
        (r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#, r#"Some(JsonRpc) Some("1") at /jsonrpc: must be "2.0""#),
        (r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, "Some(JsonRpc) None at /id: must be string or number"),
        (r#"{"jsonrpc":"2.0","id":2,"method":7}"#, r#"Some(JsonRpc) Some("2") at /method: must be string"#),
    ];
    for (text, expected) in table {
        assert_eq!(told(text), expected, "{text}");
    }
}

#[test]
fn a_refused_native_frame_is_answered_with_its_id_only_when_that_is_a_string() {
    let answered = |text: &str, own: Form| match read(text) {
        Incoming::Malformed(bad) => serde_json::from_slice::<Value>(&bad.answer(own)).unwrap()["id"].take(),
        other => panic!("{text} is read as {other:?}"),
    };
    for (text, own, id) in [
        (r#"{"type":"req","id":1,"method":"x"}"#, Form::Native, json!("invalid")),
        (r#"{"type":"req","id":1,"method":"x"}"#, Form::JsonRpc, json!("invalid")),
        (r#"{"type":"res","id":"1","method":"x"}"#, Form::Native, json!("1")),
        (r#"{"type":1,"id":7,"method":"x"}"#, Form::Native, json!("invalid")),
        (r#"{"type":1,"id":7,"method":"x"}"#, Form::Bare, json!(7)),
        (r#"{"jsonrpc":"2.0","id":2}"#, Form::Native, json!(2)),
    ] {
        assert_eq!(answered(text, own), id, "{text}");
    }
}

#[test]
fn batches_hold_json_rpc_calls_and_no_handshake() {
    let read = |text: &str| {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        read_element(&raw).map(|request| request.method.into_owned()).map_err(|bad| bad.reasons)
    };
    assert_eq!(read(r#"{"jsonrpc":"2.0","id":1,"method":"health"}"#).as_deref(), Ok("health"));
    assert_eq!(read(r#"{"jsonrpc":"2.0","id":1,"method":"connect"}"#).unwrap_err(), "connect is not valid in a batch");
    assert_eq!(read(r#"{"id":1,"method":"health"}"#).unwrap_err(), "must be JSON-RPC 2.0");
    assert_eq!(read("1").unwrap_err(), "must be object");
    let many = format!("[{}]", vec!["1"; 33].join(","));
    assert!(matches!(super::read(&many), Incoming::Malformed(_)));
    assert!(matches!(super::read(&format!("[{}]", vec!["1"; 32].join(","))), Incoming::Batch(_)));
}

fn reply(form: Form, id: &str) -> ReplyTo {
    ReplyTo { form, id: Some(Box::from(id)) }
}

fn text(frame: Option<Vec<u8>>) -> String {
    String::from_utf8(frame.unwrap()).unwrap()
}

#[test]
fn answers_have_the_form_of_their_request() {
    let error = WireError::unknown_method("x");
    let data = r#"{"code":"METHOD_NOT_FOUND","rpcCode":-32601}"#;
    let table = [
        (
            reply(Form::Native, r#""1""#),
            r#"{"type":"res","id":"1","ok":true,"payload":{}}"#,
            format!(
                r#"{{"type":"res","id":"1","ok":false,"error":{{"code":"INVALID_REQUEST","details":{data},"message":"unknown method: x"}}}}"#
            ),
        ),
        (
            reply(Form::JsonRpc, "1"),
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":-32601,"data":{data},"message":"unknown method: x"}}}}"#
            ),
        ),
        (
            reply(Form::Bare, "null"),
            r#"{"id":null,"result":{}}"#,
            format!(r#"{{"id":null,"error":{{"code":-32601,"data":{data},"message":"unknown method: x"}}}}"#),
        ),
    ];
    for (to, good, bad) in table {
        assert_eq!(text(success(&to, b"{}")), good);
        let (got, bad): (Value, Value) =
            (serde_json::from_str(&text(failure(&to, &error))).unwrap(), serde_json::from_str(&bad).unwrap());
        assert_eq!(got, bad);
    }
    assert_eq!(success(&ReplyTo { form: Form::JsonRpc, id: None }, b"{}"), None);
}

#[test]
fn events_are_put_together_around_their_shared_bytes() {
    let body = event_body("chat", &json!({ "runId": "r" }));
    let around = Around { session: Some("ma\"in"), seq: Some(3), state_version: Some((4, 5)), cursor: Some(9) };
    let frame = |form| String::from_utf8(event(form, &body, around)).unwrap();
    assert_eq!(
        frame(Form::Native),
        r#"{"type":"event","event":"chat","payload":{"runId":"r","sessionKey":"ma\"in"},"seq":3,"cursor":9,"stateVersion":{"presence":4,"health":5}}"#
    );
    assert_eq!(
        frame(Form::JsonRpc),
        r#"{"jsonrpc":"2.0","method":"event","params":{"event":"chat","payload":{"runId":"r","sessionKey":"ma\"in"},"seq":3,"cursor":9,"stateVersion":{"presence":4,"health":5}}}"#
    );
    let bare = String::from_utf8(event(Form::Bare, &body, Around::default())).unwrap();
    assert_eq!(bare, r#"{"type":"event","event":"chat","payload":{"runId":"r"}}"#);
}
