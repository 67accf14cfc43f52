//! Commands that talk to a running gateway.

use serde_json::{Value, json};

use super::support::{API_KEY, Home, Running, finish};
use super::upstream::{Answer, Upstream};

#[test]
fn without_a_gateway_the_exit_code_is_3_and_a_sentence_says_what_to_do() {
    let home = Home::new();
    for arguments in [&["call", "health"] as &[&str], &["events"], &["token", "list"], &["sessions", "list"]] {
        let run = home.run(arguments).fails(3);
        assert_eq!(run.out, "");
        assert!(run.err.contains("127.0.0.1:1/aleph") && run.err.contains("patchbay serve"), "{run:?}");
    }
    let run = home.run(&["call", "health", "--url", "ws://127.0.0.1:1"]).fails(3);
    assert!(run.err.contains("is the address right?"), "{run:?}");
    home.run(&["call", "health", "--url", "ftp://x"]).fails(2);
    home.run(&["chat", "hello", "--url", "ws://127.0.0.1:1"]).fails(3);
}

#[test]
fn a_pattern_that_is_none_is_wrong_usage_whether_a_gateway_runs_or_not() {
    let home = Home::new();
    for pattern in ["b ad", "a..b", ""] {
        let run = home.run(&["events", pattern]).fails(2);
        assert!(run.err.contains("is not a topic pattern"), "{run:?}");
    }
}

#[test]
fn a_configuration_in_published_words_is_checked_by_them() {
    let home = Home::new();
    let _gateway = home.serve();
    let check = |config: Value| {
        let params = json!({ "config": config }).to_string();
        home.run(&["call", "config.validate", &params]).ok().json()
    };
    let errors = json!([{ "path": "agent.max_iterations", "message": "must be at least 1" }]);
    assert_eq!(
        check(json!({ "agent": { "max_iterations": -5 } })),
        json!({ "valid": false, "errors": errors, "warnings": [] })
    );
    let told = check(json!({ "agent": { "max_iterations": 5 } }));
    assert_eq!(told["errors"][0]["message"], "unknown key; here it is `limits.max_iterations`");
    assert_eq!(check(json!({ "limits": { "max_iterations": 5 } }))["valid"], true);
}

#[test]
fn a_token_lives_from_creation_to_revocation() {
    let home = Home::new();
    let gateway = home.serve();
    let made = home.run(&["token", "create", "ci", "--scope", "read", "--expires-days", "3"]).ok();
    let secret = made.out.trim();
    assert!(secret.len() >= 16 && !made.err.contains(secret), "{made:?}");
    let listed = home.run(&["token", "list", "--json"]).ok();
    assert!(!listed.out.contains(secret));
    let token = &listed.json()[0];
    assert_eq!(
        (&token["name"], &token["scopes"], &token["revoked_at"]),
        (&json!("ci"), &json!(["read"]), &Value::Null)
    );
    let table = home.run(&["token", "list"]).ok().out;
    assert!(table.starts_with("ID") && table.contains("ci") && table.contains("valid"), "{table}");

    // Only the secret counts here: another home, an address, a credential from the environment.
    let elsewhere = Home::new();
    let as_ci = |arguments: &[&str]| {
        let mut command = elsewhere.command(arguments);
        command.args(["--url", &gateway.url]).env("PATCHBAY_TOKEN", secret);
        finish(command)
    };
    as_ci(&["sessions", "list"]).ok();
    let refused = as_ci(&["call", "config.reload"]).fails(4);
    assert!(refused.err.contains("config.reload") && !refused.err.contains(secret), "{refused:?}");
    as_ci(&["token", "list"]).fails(4);

    let id = token["id"].as_str().unwrap();
    home.run(&["token", "revoke", id]).ok();
    let refused = as_ci(&["sessions", "list"]).fails(4);
    assert!(!refused.err.contains(secret), "{refused:?}");
    assert!(home.run(&["token", "revoke", id]).ok().err.contains("before"));
    assert!(home.run(&["token", "list"]).ok().out.contains("revoked"));
    home.run(&["token", "revoke", "tok_none"]).fails(1);
}

#[test]
fn a_wrong_credential_is_refused_with_exit_code_4() {
    let home = Home::new();
    let gateway = home.serve();
    let refused = home.run(&["call", "health", "--token", "wrong-wrong-wrong-wrong"]).fails(4);
    assert!(refused.err.contains("refuses") && !refused.err.contains("wrong-wrong"), "{refused:?}");
    let stranger = Home::new();
    let refused = stranger.run(&["call", "health", "--url", &gateway.url]).fails(4);
    assert!(refused.err.contains("PATCHBAY_TOKEN"), "{refused:?}");
    stranger.run(&["events", "--url", &gateway.url, "--token", "wrong-wrong-wrong-wrong"]).fails(4);
}

#[test]
fn a_call_prints_the_bare_result_and_takes_parameters_from_anywhere() {
    let home = Home::new();
    let _gateway = home.serve();
    let params = r#"{"z":1,"a":[true,null,"ü"]}"#;
    home.write("params.json", params);
    let file = format!("@{}", home.path().join("params.json").display());
    let expected: Value = serde_json::from_str(params).unwrap();
    assert_eq!(home.run(&["call", "echo", params]).ok().json(), expected);
    assert_eq!(home.run(&["call", "echo", &file]).ok().json(), expected);
    assert_eq!(home.run_with_input(&["call", "echo", "-"], params).ok().json(), expected);
    assert_eq!(home.run(&["call", "echo"]).ok().json(), Value::Null);
    assert_eq!(home.run(&["call", "health"]).ok().json()["status"], json!("ok"));

    let unknown = home.run(&["call", "no.such"]).fails(1);
    assert_eq!(unknown.out, "");
    assert!(unknown.err.contains("no.such") && unknown.err.contains("-32601"), "{unknown:?}");
    let error: Value = serde_json::from_str(&home.run(&["call", "no.such", "--json"]).fails(1).err).unwrap();
    assert_eq!(error["code"], json!(-32601));
    home.run(&["call", "echo", "{not json"]).fails(2);
    home.run(&["call", "echo", "@/nonexistent"]).fails(2);
    assert!(
        home.run(&["call", "session.history", r#"{"session_key":"agent:main:none"}"#])
            .fails(1)
            .err
            .contains("agent:main:none")
    );
}

#[test]
fn following_a_call_prints_the_events_of_its_run_until_the_end() {
    let upstream = Upstream::start([Answer::Text(&["Hel", "lo"]), Answer::Refuse(400, "this model is out of order")]);
    let home = Home::with_model(upstream.port);
    let _gateway = home.serve();
    let lines = home.run(&["call", "agent.run", r#"{"message":"hi"}"#, "--follow"]).ok().json_lines();
    let run_id = &lines[0]["run_id"];
    assert!(lines[1..].iter().all(|event| event["data"]["run_id"] == *run_id), "{lines:?}");
    let texts: Vec<&str> = lines
        .iter()
        .filter(|line| line["topic"] == "stream.chunk")
        .map(|line| line["data"]["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts.concat(), "Hello");
    let last = lines.last().unwrap();
    assert_eq!((&last["topic"], &last["data"]["response"]), (&json!("agent.completed"), &json!("Hello")));

    let failed = home.run(&["call", "agent.run", r#"{"message":"again"}"#, "--follow"]).fails(1);
    assert_eq!(failed.json_lines().last().unwrap()["topic"], json!("agent.error"));
    assert!(failed.err.contains("out of order"), "{failed:?}");
    assert!(home.run(&["call", "health", "--follow"]).ok().err.contains("names no run"));
}

#[test]
fn events_survive_a_restart_of_the_gateway_and_ctrl_c_ends_them_well() {
    let upstream = Upstream::start((0..3).map(|_| Answer::Text(&["ok"])));
    let home = Home::with_model(upstream.port);
    let gateway = home.serve();
    home.run(&["call", "agent.run", r#"{"message":"zero"}"#, "--follow"]).ok();
    let mut events = Running::start(home.command(&["events", "agent.*", "--after", "0"]));
    let is_end = |event: &Value| event["topic"] == "agent.completed";
    let first = events.line(is_end);
    home.run(&["call", "agent.run", r#"{"message":"one"}"#, "--follow"]).ok();
    let second = events.line(is_end);
    gateway.stop();
    let _again = home.serve();
    home.run(&["call", "agent.run", r#"{"message":"two"}"#, "--follow"]).ok();
    let third = events.line(is_end);
    let cursors: Vec<u64> = [&first, &second, &third].map(|event| event["cursor"].as_u64().unwrap()).to_vec();
    assert!(cursors.is_sorted() && cursors[0] < cursors[1] && cursors[1] < cursors[2], "{cursors:?}");
    events.signal("INT");
    let end = events.end().ok();
    assert!(end.err.contains("connecting again"), "{end:?}");
}

#[test]
fn sessions_are_listed_shown_and_deleted() {
    let upstream = Upstream::start([Answer::Text(&["The answer is \u{1b}[31m42."])]);
    let home = Home::with_model(upstream.port);
    let _gateway = home.serve();
    assert!(home.run(&["sessions", "list"]).ok().err.contains("no sessions"));
    home.run(&["chat", "--session", "work", "What is it?"]).ok();
    let listed = home.run(&["sessions", "list", "--json"]).ok().json();
    assert_eq!((&listed[0]["key"], &listed[0]["message_count"]), (&json!("agent:main:work"), &json!(2)));
    let table = home.run(&["sessions", "list", "--agent", "main"]).ok().out;
    assert!(table.starts_with("KEY") && table.contains("agent:main:work"), "{table}");
    let shown = home.run(&["sessions", "show", "work"]).ok().out;
    assert!(shown.contains("user: What is it?") && shown.contains("assistant: The answer is [31m42."), "{shown}");
    assert!(home.run(&["sessions", "compact", "work"]).ok().err.contains("nothing to compact"));
    assert!(home.run(&["sessions", "delete", "agent:main:work"]).ok().err.contains("2 messages"));
    home.run(&["sessions", "show", "work"]).fails(1);
}

#[test]
fn models_are_listed_by_the_gateway_and_without_one() {
    let home = Home::with_model(1);
    let default = |models: Value| {
        models.as_array().unwrap().iter().find(|model| model["is_default"] == true).unwrap()["id"].clone()
    };
    let offline = home.run(&["models", "list", "--json"]).ok().json();
    assert_eq!(default(offline), json!("up/m"));
    let table = home.run(&["models", "list", "--provider", "up"]).ok().out;
    let row = table.lines().nth(1).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[..2], ["up/m", "*"], "{table}");
    let _gateway = home.serve();
    let online = home.run(&["models", "list", "--json"]).ok().json();
    assert_eq!(default(online), json!("up/m"));
}

#[test]
fn a_running_gateway_takes_edits_up_and_is_healthy() {
    let home = Home::with_model(1);
    let _gateway = home.serve();
    let mut events = Running::start(home.command(&["events", "config.*", "--after", "0"]));
    let set = home.run(&["config", "set", "limits.run_timeout_secs", "321"]).ok();
    assert!(set.err.contains("has taken it up"), "{set:?}");
    let changed = events.line(|event| event["topic"] == "config.changed");
    assert_eq!(changed["data"]["changed_keys"], json!(["limits.run_timeout_secs"]));
    assert_eq!(home.run(&["config", "get", "limits.run_timeout_secs"]).ok().out, "321\n");
    let restart = home.run(&["config", "set", "store.url", "sqlite:other.db"]).ok();
    assert!(restart.err.contains("only after a restart"), "{restart:?}");
    home.run(&["config", "unset", "store.url"]).ok();
    events.signal("TERM");
    events.end().ok();
    let found = home.run(&["doctor", "--json"]).ok();
    assert!(found.out.contains("runs and answers") && !found.out.contains(API_KEY), "{found:?}");
}
