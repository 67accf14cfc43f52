use serde_json::json;

use crate::layers::Layers;
use crate::sample::{Sample, layers_of_nothing};

/// Every problem of a text, as it is printed.
fn problems(text: &str) -> Vec<String> {
    problems_in(&layers_of_nothing(), text)
}

fn problems_in(layers: &Layers, text: &str) -> Vec<String> {
    match layers.load_bytes::<Sample>(text.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_unknown_key_names_the_nearest_one_at_its_level() {
    assert_eq!(
        problems("[store]\nurl = \"x\"\n\n[agents.main]\nmodle = \"a/b\"\n"),
        ["config.toml:5: agents.main.modle: unknown key; did you mean `model`?"]
    );
    assert_eq!(problems("[stroe]\nurl = \"x\"\n"), ["config.toml:1: stroe: unknown key; did you mean `store`?"]);
    assert_eq!(
        problems("[agents.main]\nmaxTurns = 3\n"),
        ["config.toml:2: agents.main.maxTurns: unknown key; did you mean `max_turns`?"]
    );
}

#[test]
fn a_key_in_the_wrong_place_is_told_where_it_belongs() {
    assert_eq!(
        problems("backlog = 10\n"),
        ["config.toml:1: backlog: unknown key; such a key exists at `listen[].backlog`"]
    );
    assert_eq!(
        problems("[store]\nproviders = 1\n"),
        ["config.toml:2: store.providers: unknown key; such a key exists one level up: `providers`"]
    );
    assert_eq!(problems("[store]\nzzz = 1\n"), ["config.toml:2: store.zzz: unknown key; known keys: `readers`, `url`"]);
    assert_eq!(
        problems("[auth]\nbase_url = 1\n"),
        ["config.toml:2: auth.base_url: unknown key; such a key exists at `providers.<name>.base_url`"]
    );
}

#[test]
fn unknown_keys_are_found_in_tagged_and_flattened_tables_too() {
    assert_eq!(
        problems(
            "[providers.a]\nkind = \"openai\"\nbase_ulr = \"x\"\n[logs]\nkeep_day = 1\nlevel = \"info\"\nkeep_days = 3\n"
        ),
        [
            "config.toml:3: providers.a.base_ulr: unknown key; did you mean `base_url`?",
            "config.toml:5: logs.keep_day: unknown key; did you mean `keep_days`?",
        ]
    );
    assert_eq!(
        problems("[providers.a]\nkind = \"ollama\"\nbase_url = \"x\"\n"),
        [
            "config.toml:3: providers.a.base_url: unknown key; with `kind = \"ollama\"` the known keys are `headers`, `host`, `kind`"
        ]
    );
}

#[test]
fn a_wrong_type_is_told_with_what_was_found() {
    assert_eq!(
        problems("[store]\nurl = 17\nreaders = \"4\"\n[auth]\nrequired = \"yes\"\ntoken = \"x\"\n"),
        [
            "config.toml:2: store.url: expected a string, found the number `17`",
            "config.toml:3: store.readers: expected an integer, found the string `4`; write it without quotes",
            "config.toml:5: auth.required: expected true or false, found the string `yes`",
            "config.toml:6: auth.token: expected a list, found a string",
        ]
    );
    assert_eq!(problems("agents = [1]\n"), ["config.toml:1: agents: expected a table, found a list"]);
    assert_eq!(
        problems("[agents.main]\nmodel = true\nmax_turns = 1.5\n"),
        [
            "config.toml:2: agents.main.model: expected a string, found the boolean `true`",
            "config.toml:3: agents.main.max_turns: expected an integer, found the number `1.5`",
        ]
    );
}

#[test]
fn an_unknown_word_names_the_nearest_one() {
    assert_eq!(
        problems(
            "[[listen]]\ndialect = \"alef\"\naddress = \"a\"\n[agents.main]\nthinking = \"hgih\"\n[agents.b]\nthinking = \"none\"\n"
        ),
        [
            "config.toml:2: listen[0].dialect: unknown value `alef`; did you mean `aleph`?",
            "config.toml:5: agents.main.thinking: unknown value `hgih`; did you mean `high`?",
            "config.toml:7: agents.b.thinking: unknown value `none`; expected `low`, `medium`, `high`",
        ]
    );
    assert_eq!(
        problems("[providers.a]\nkind = \"opneai\"\n[providers.b]\nbase_url = \"x\"\n"),
        [
            "config.toml:2: providers.a.kind: unknown value `opneai`; did you mean `openai`?",
            "config.toml:3: providers.b.kind: is required and missing; expected `openai`, `ollama`",
        ]
    );
}

#[test]
fn a_number_out_of_range_is_told_with_its_bound() {
    assert_eq!(
        problems(
            "[store]\nreaders = 65\n[agents.main]\nmax_turns = -5\nmax_tokens = 5000000000\n[[listen]]\ndialect = \"aleph\"\naddress = \"a\"\nbacklog = 70000\n"
        ),
        [
            "config.toml:2: store.readers: must be at most 64, not 65",
            "config.toml:4: agents.main.max_turns: must be at least 1, not -5",
            "config.toml:5: agents.main.max_tokens: must be at most 4294967295, not 5000000000",
            "config.toml:9: listen[0].backlog: must be at most 65535, not 70000",
        ]
    );
}

#[test]
fn a_missing_key_is_told_at_its_table() {
    assert_eq!(
        problems("\n[[auth.token]]\nid = \"a\"\nsecret = \"long enough\"\n\n[[auth.token]]\nid = \"b\"\n"),
        ["config.toml:6: auth.token[1].secret: is required and missing"]
    );
}

#[test]
fn the_value_of_a_secret_is_never_told() {
    let found = problems(
        "[auth]\npassword = [\"hunter2-a\"]\n[[auth.token]]\nid = \"a\"\nsecret = 9918273\n[providers.a]\nkind = \"openai\"\napi_key = { hunter2 = \"b\" }\n",
    );
    assert_eq!(
        found,
        [
            "config.toml:2: auth.password: expected a string, found a list",
            "config.toml:5: auth.token[0].secret: expected a string, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`, found a number",
            "config.toml:8: providers.a.api_key: expected a string, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`, found a table",
        ]
    );
    let short = problems("[[auth.token]]\nid = \"a\"\nsecret = \"hunter2\"\n");
    assert_eq!(short, ["config.toml:3: auth.token[0].secret: `[REDACTED]` is too short"]);
}

#[test]
fn everything_wrong_is_told_at_once_in_the_order_of_the_text() {
    let found = problems("top = 1\n[auth]\nrequried = true\n[[auth.token]]\nid = \"a\"\nsecret = \"short\"\n");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[2].starts_with("config.toml:6: auth.token[0].secret: "), "{found:?}");
}

#[test]
fn what_is_handed_over_is_told_by_path_alone() {
    let validation = layers_of_nothing().validate_value::<Sample>(&json!({"agents": {"main": {"max_turns": -5}}}));
    assert_eq!(
        serde_json::to_value(validation).unwrap(),
        json!({
            "valid": false,
            "errors": [{"path": "agents.main.max_turns", "message": "must be at least 1, not -5"}],
            "warnings": [],
        })
    );
}

#[test]
fn a_text_of_nothing_but_faults_is_told_in_part() {
    let text: String = (0..5_000).map(|n| format!("key{n} = {{ env = \"NONE\" }}\n")).collect();
    assert_eq!(problems(&text).len(), super::FAULTS_MAX);
    let text: String = (0..5_000).map(|n| format!("agents.a{n}.model = \"${{GONE}}\"\n")).collect();
    assert_eq!(problems(&text).len(), super::FAULTS_MAX);
}
