//! `config`, `doctor`, and what needs no gateway.

use serde_json::json;

use super::support::{API_KEY, Home, NOWHERE};

#[test]
fn edits_keep_comments_and_can_be_taken_back() {
    let home = Home::with("# Who answers.\n[agents.main]\nmodel = \"local/default\" # for now\n");
    let before = home.read("config.toml");
    home.run(&["config", "set", "agents.main.model", "up/other"]).ok();
    home.run(&["config", "set", "limits.run_timeout_secs", "900"]).ok();
    let text = home.read("config.toml");
    assert!(text.contains("# Who answers.\n[agents.main]\nmodel = \"up/other\" # for now\n"), "{text}");
    assert!(text.contains("[limits]\nrun_timeout_secs = 900\n"), "{text}");
    assert_eq!(home.run(&["config", "get", "agents.main.model"]).ok().out, "up/other\n");
    assert_eq!(home.run(&["config", "get", "limits.run_timeout_secs", "--json"]).ok().out, "900\n");

    home.run(&["config", "unset", "limits.run_timeout_secs"]).ok();
    assert_eq!(home.run(&["config", "get", "limits.run_timeout_secs"]).ok().out, "600\n");
    let numbers: Vec<u64> = home
        .run(&["config", "history", "--json"])
        .ok()
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [3, 2, 1]);
    home.run(&["config", "rollback", "1"]).ok();
    assert_eq!(home.read("config.toml"), before);
    home.run(&["config", "rollback", "99"]).fails(1);
}

#[test]
fn a_wrong_key_is_refused_with_its_line_and_the_nearest_known_one() {
    let home = Home::new();
    let before = home.read("config.toml");
    let refused = home.run(&["config", "set", "agents.main.modle", "up/m"]).fails(1);
    assert!(refused.err.contains("did you mean `model`?"), "{refused:?}");
    assert_eq!(home.read("config.toml"), before);

    home.write("other.toml", "[agents.main]\nmodle = \"up/m\"\n");
    let file = home.path().join("other.toml");
    let found = home.run(&["config", "check", file.to_str().unwrap()]).fails(1);
    assert!(found.err.contains("other.toml:2: agents.main.modle: unknown key; did you mean `model`?"), "{found:?}");
    let checked = home.run(&["config", "check", file.to_str().unwrap(), "--json"]).fails(1).json();
    assert_eq!(checked["valid"], json!(false));
    assert_eq!(checked["errors"][0]["path"], json!("agents.main.modle"));

    assert!(home.run(&["config", "check"]).ok().out.contains("is valid"));
    home.run(&["config", "check", "/nonexistent.toml"]).fails(1);
    home.run(&["config", "get", "agents..model"]).fails(2);
    home.run(&["config", "get", "agents.none.model"]).fails(1);
}

#[test]
fn several_mistakes_are_told_one_on_each_line() {
    let home = Home::with("[limits]\nrun_tokens = \"many\"\nsession_que = 3\n");
    let found = home.run(&["config", "show"]).fails(1);
    let lines: Vec<&str> = found.err.lines().collect();
    assert!(lines[0].contains("2 mistakes"), "{found:?}");
    assert!(lines[1].contains(":5: limits.run_tokens") && lines[2].contains(":6: limits.session_que"), "{found:?}");
}

#[test]
fn secrets_go_in_and_never_come_out() {
    let home = Home::with(&format!(
        "[providers.up]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\napi_key = \"{API_KEY}\"\ndiscover = false\nmodels = [\"m\"]\n"
    ));
    let runs: [&[&str]; 8] = [
        &["config", "show"],
        &["config", "show", "--json"],
        &["config", "show", "providers"],
        &["config", "get", "providers.up.api_key"],
        &["config", "get", "providers", "--json"],
        &["config", "check", "--json"],
        &["doctor"],
        &["models", "list", "--json"],
    ];
    for arguments in runs {
        let run = home.run(arguments);
        assert!(!run.out.contains(API_KEY) && !run.err.contains(API_KEY), "{arguments:?} {run:?}");
    }
    assert_eq!(home.run(&["config", "get", "providers.up.api_key"]).ok().out, "[REDACTED]\n");

    let set = home.run_with_input(&["config", "set", "providers.up.api_key", "-"], "sk-another-secret\n").ok();
    assert!(!set.out.contains("sk-another") && !set.err.contains("sk-another"), "{set:?}");
    assert!(home.read("config.toml").contains("api_key = \"sk-another-secret\""));
    let refused = home.run(&["config", "set", "providers.up.kind", API_KEY]).fails(1);
    assert!(refused.err.contains("providers.up.kind"), "{refused:?}");
}

#[test]
fn the_environment_overrides_the_file() {
    let home = Home::new();
    let mut command = home.command(&["config", "get", "limits.run_timeout_secs"]);
    command.env("PATCHBAY_LIMITS__RUN_TIMEOUT_SECS", "77");
    assert_eq!(super::support::finish(command).ok().out, "77\n");
}

#[test]
fn show_is_valid_toml_of_all_sections() {
    let home = Home::new();
    let shown = home.run(&["config", "show"]).ok().out;
    home.write("shown.toml", &shown);
    let file = home.path().join("shown.toml");
    home.run(&["config", "check", file.to_str().unwrap()]).ok();
    let section = home.run(&["config", "show", "limits"]).ok().out;
    assert!(section.starts_with("[limits]\n"), "{section}");
    assert!(home.run(&["config", "show", "nothing"]).fails(1).err.contains("limits"));
    let schema = home.run(&["config", "schema"]).ok().json();
    assert_eq!(schema["properties"]["agents"]["type"], json!("object"));
}

#[test]
fn a_first_edit_makes_the_home() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    let home = Home::new();
    let mut command = home.command(&["--home", path.to_str().unwrap(), "config", "set", "log.level", "warn"]);
    command.env_remove("PATCHBAY_HOME");
    super::support::finish(command).ok();
    let text = std::fs::read_to_string(path.join("config.toml")).unwrap();
    assert!(text.starts_with("# Configuration of Patchbay") && text.ends_with("[log]\nlevel = \"warn\"\n"), "{text}");
}

#[test]
fn doctor_names_what_is_broken_and_how_to_mend_it() {
    let broken = Home::with("[limits]\nsession_que = 3\n");
    let run = broken.run(&["doctor"]).fails(1);
    assert!(run.out.contains("did you mean `session_queue`?") && run.out.contains("→"), "{run:?}");

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = port.local_addr().unwrap();
    let home = Home::new();
    home.write(
        "config.toml",
        &format!(
            "[[listen]]\ndialect = \"aleph\"\naddress = \"{taken}\"\n[providers.up]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\napi_key = \"{API_KEY}\"\nmodels = [\"m\"]\ndiscover = false\n[models]\ndefault = \"up/m\"\n"
        ),
    );
    let found = home.run(&["doctor", "--json"]).fails(1).json();
    let of = |check: &str| {
        found["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check).cloned().unwrap()
    };
    assert_eq!(of("listener")["state"], json!("broken"));
    assert!(of("listener")["mend"].as_str().unwrap().contains("[[listen]]"));
    for check in ["home", "disk", "clock", "configuration", "database", "gateway", "providers"] {
        assert_eq!(of(check)["state"], json!("ok"), "{check}: {found}");
    }
    drop(port);
    let mended = home.run(&["doctor", "--json"]).ok().json();
    assert_eq!(mended["ok"], json!(true));

    home.write("patchbay.db", "this is no database");
    let found = home.run(&["doctor", "--json"]).fails(1).json();
    let database =
        found["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "database").cloned().unwrap();
    assert_eq!(database["state"], json!("broken"));
}

#[test]
fn every_command_has_help_with_examples() {
    let home = Home::new();
    for command in [
        "serve",
        "chat",
        "call",
        "events",
        "token",
        "config",
        "models",
        "sessions",
        "doctor",
        "backup",
        "restore",
        "schema",
        "completions",
        "version",
    ] {
        let help = home.run(&[command, "--help"]).ok().out;
        assert!(help.contains("Examples:") && help.contains(&format!("patchbay {command}")), "{command}: {help}");
    }
    assert!(home.run(&["--help"]).ok().out.contains("Exit codes"));
    home.run(&["no-such-command"]).fails(2);
    home.run(&["token", "create", "x"]).fails(2);
    home.run(&["token", "create", "x", "--scope", "everything"]).fails(2);
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.run(&["completions", shell]).ok().out.contains("patchbay"));
    }
}

#[test]
fn a_home_flag_wins_and_the_wrong_file_is_named() {
    let home = Home::new();
    let other = Home::new();
    other.write("config.toml", &format!("{NOWHERE}[log]\nlevel = \"error\"\n"));
    let run = home.run(&["--home", other.path().to_str().unwrap(), "config", "get", "log.level"]).ok();
    assert_eq!(run.out, "error\n");
}
