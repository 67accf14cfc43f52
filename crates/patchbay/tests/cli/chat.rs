//! `chat`, with a gateway in its own process and with one that runs.

use serde_json::{Value, json};

use super::support::{API_KEY, Home, Running};
use super::upstream::{Answer, Upstream};

#[test]
fn one_message_is_answered_in_this_process_without_a_listener() {
    let upstream = Upstream::start([Answer::Text(&["Hel", "lo\u{1b}]0;x\u{7}"])]);
    let home = Home::with_model(upstream.port);
    let run = home.run(&["chat", "hi", "there"]).ok();
    assert_eq!((run.out.as_str(), run.err.as_str()), ("Hello]0;x\n", ""));
    assert_eq!(upstream.conversations()[0].last().unwrap(), &("user".to_owned(), "hi there".to_owned()));
    assert!(!home.path().join("gateway.json").exists());
}

#[test]
fn json_is_one_object_for_each_message() {
    let upstream = Upstream::start([Answer::Text(&["Hello"]), Answer::Refuse(400, "this model is out of order")]);
    let home = Home::with_model(upstream.port);
    let answer = home.run(&["chat", "--json", "hi"]).ok().json();
    assert!(answer["run_id"].as_str().unwrap().starts_with("run_"));
    assert_eq!(
        (&answer["response"], &answer["status"], &answer["model"], &answer["session_key"]),
        (&json!("Hello"), &json!("completed"), &json!("up/m"), &json!("agent:main:main"))
    );
    assert!(answer["usage"]["total_tokens"].is_u64(), "{answer}");
    let failed = home.run(&["chat", "--json", "hi"]).fails(1).json();
    assert_eq!(failed["status"], json!("failed"));
    assert!(failed["error"]["message"].as_str().unwrap().contains("out of order"), "{failed}");
}

#[test]
fn each_line_of_a_pipe_is_a_message_and_commands_are_none() {
    let upstream = Upstream::start([Answer::Text(&["one"]), Answer::Text(&["two\n"]), Answer::Text(&["three"])]);
    let home = Home::with_model(upstream.port);
    let run = home
        .run_with_input(
            &["chat"],
            "first\n\nsecond\n/model\n/think high\n/status\n/new\n/etc/hosts is what?\n/quit\nnever\n",
        )
        .ok();
    assert_eq!(run.out, "one\ntwo\nthree\n");
    assert!(run.err.contains("the agent's own (up/m)") && run.err.contains("thinking: high"), "{run:?}");
    assert!(run.err.contains("session agent:main:main") && run.err.contains("4 messages"), "{run:?}");
    let said = upstream.conversations();
    let words = |conversation: &[(String, String)]| {
        conversation.iter().filter(|(role, _)| role != "system").map(|(_, text)| text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(words(&said[1]), ["first", "one", "second"]);
    assert_eq!(words(&said[2]), ["/etc/hosts is what?"]);
}

#[test]
fn a_failure_is_told_and_the_pipe_goes_on() {
    let upstream = Upstream::start([Answer::Refuse(400, "this model is out of order"), Answer::Text(&["fine"])]);
    let home = Home::with_model(upstream.port);
    let run = home.run_with_input(&["chat"], "first\nsecond\n").fails(1);
    assert_eq!(run.out, "fine\n");
    assert!(run.err.contains("out of order") && !run.err.contains(API_KEY), "{run:?}");
}

#[test]
fn ctrl_c_cancels_the_run() {
    let upstream = Upstream::start([Answer::Hang(&["Hel"])]);
    let home = Home::with_model(upstream.port);
    let mut chat = Running::start(home.command(&["chat", "hi"]));
    chat.read_until("Hel");
    chat.signal("INT");
    upstream.wait_for_leaving();
    let end = chat.end().fails(1);
    assert_eq!(end.out, "\n");
    assert!(end.err.contains("cancelled"), "{end:?}");
    let stored = home.run_with_input(&["chat"], "/status\n").ok();
    assert!(stored.err.contains("2 messages"), "{stored:?}");
}

#[test]
fn a_running_gateway_answers_and_tools_are_told_on_stderr() {
    let upstream = Upstream::start([
        Answer::Tool("current_time", json!({})),
        Answer::Text(&["It is late."]),
        Answer::Text(&["Yes."]),
    ]);
    let home = Home::with_model(upstream.port);
    let _gateway = home.serve();
    let run = home.run(&["chat", "What time is it?"]).ok();
    assert_eq!(run.out, "It is late.\n");
    assert!(run.err.contains("→ current_time") && run.err.contains("✓ current_time"), "{run:?}");
    let other = home.run(&["chat", "--session", "work", "--model", "up/m", "--json", "Really?"]).ok().json();
    assert_eq!(other["session_key"], json!("agent:main:work"));
    let sessions = home.run(&["sessions", "list", "--json"]).ok().json();
    assert_eq!(sessions.as_array().map(Vec::len), Some(2));
}

#[test]
fn cancelling_reaches_a_running_gateway() {
    let upstream = Upstream::start([Answer::Hang(&["Hel"])]);
    let home = Home::with_model(upstream.port);
    let _gateway = home.serve();
    let mut chat = Running::start(home.command(&["chat", "hi"]));
    chat.read_until("Hel");
    chat.signal("INT");
    upstream.wait_for_leaving();
    assert!(chat.end().fails(1).err.contains("cancelled"));
    let history = home.run(&["call", "session.list", "{}"]).ok().json();
    assert_eq!(history["sessions"][0]["key"], json!("agent:main:main"));
}

#[test]
fn a_question_of_the_agent_is_answered_from_stdin() {
    let ask = || Answer::Tool("ask_user", json!({ "prompt": "Which colour?", "options": ["red", "blue"] }));
    let upstream = Upstream::start([ask(), Answer::Text(&["Blue it is."]), ask()]);
    let home = Home::with_model(upstream.port);
    let run = home.run_with_input(&["chat", "Paint it"], "blue\n").ok();
    assert_eq!(run.out, "Blue it is.\n");
    assert!(run.err.contains("Which colour?") && run.err.contains("- blue"), "{run:?}");
    let result = upstream.conversations()[1].iter().find(|(role, _)| role == "tool").unwrap().1.clone();
    assert!(result.contains("blue"), "{result}");
    // Nobody is there to answer.
    assert!(home.run(&["chat", "Paint it"]).fails(1).err.contains("without an answer"));
}

#[test]
fn without_any_model_the_way_to_one_is_told() {
    let home = Home::new();
    let run = home.run(&["chat", "hi"]).fails(1);
    assert_eq!(run.out, "");
    let advice = if cfg!(feature = "local") { "patchbay models pull default" } else { "OPENAI_API_KEY" };
    assert!(run.err.contains(advice), "{run:?}");
}

#[test]
fn a_foreign_gateway_on_the_configured_port_is_not_ours() {
    let foreign = Home::new();
    let gateway = foreign.serve();
    let address = gateway.url.trim_start_matches("ws://");
    let upstream = Upstream::start([Answer::Text(&["mine"])]);
    let home = Home::with_model(upstream.port);
    let config = home.read("config.toml").replace("127.0.0.1:1\"", &format!("{address}\""));
    home.write("config.toml", &config);
    assert_eq!(home.run(&["chat", "hi"]).ok().out, "mine\n");
    home.run(&["chat", "hi", "--token", "wrong-wrong-wrong-wrong"]).fails(4);
}

#[test]
fn wrong_words_are_wrong_usage() {
    let home = Home::new();
    home.run(&["chat", "--model", "nothing", "hi"]).fails(2);
    home.run(&["chat", "--agent", "No Agent", "hi"]).fails(2);
    home.run(&["chat", "  "]).fails(2);
}

#[test]
fn logs_never_reach_stdout() {
    let upstream = Upstream::start([Answer::Text(&["quiet"])]);
    let home = Home::with_model(upstream.port);
    let run = home.run(&["chat", "-v", "hi"]).ok();
    assert_eq!(run.out, "quiet\n");
    let logged: Vec<Value> = run.err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(logged.iter().any(|line| line["level"] == "DEBUG"), "{run:?}");
    assert!(!run.err.contains(API_KEY));
}
