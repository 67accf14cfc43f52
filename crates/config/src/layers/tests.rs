use model::Secret;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sample::{Dialect, Home, ProviderSection, Sample, TEXT, layers_of_nothing};

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

fn problems(outcome: Result<Loaded<Sample>, Problems>) -> Vec<String> {
    outcome.unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn without_a_file_the_defaults_hold() {
    let home = Home::empty();
    let loaded = home.layers().load::<Sample>().unwrap();
    assert_eq!(*loaded.config, Sample::default());
    assert_eq!((loaded.source, loaded.warnings), (None, Vec::new()));
}

#[test]
fn the_file_lies_over_the_defaults() {
    let home = Home::with(TEXT);
    let loaded = home.layers().load::<Sample>().unwrap();
    let config = &loaded.config;
    assert_eq!(loaded.source.as_deref(), Some(home.file.as_path()));
    assert_eq!(loaded.hash.len(), 64);
    assert_eq!(config.listen.len(), 2, "a list replaces the default list");
    assert_eq!((config.listen[1].dialect, config.listen[1].backlog), (Dialect::Comis, 16));
    assert_eq!(config.agents["main"].max_turns, Some(1000));
    assert_eq!(config.store.readers, 4, "what is not written keeps its default");
    assert_eq!(config.auth.token[0].secret, Secret::new("ci-token-value"));
    let ProviderSection::Openai { api_key, .. } = &config.providers["openai"] else { panic!() };
    assert_eq!(api_key, &Some(Secret::new("sk-substituted-x")));
    assert!(config.providers.contains_key("local"), "a default entry of a map stays beside a written one");
}

#[test]
fn a_table_that_chooses_another_kind_replaces_the_default_one() {
    let home = Home::with("[providers.local]\nkind = \"openai\"\n");
    let config = home.layers().load::<Sample>().unwrap().config;
    assert_eq!(config.providers["local"], ProviderSection::Openai { base_url: None, api_key: None });
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let home = Home::with("[store]\nurl = \"file\"\nreaders = 5\n[agents.Main2]\nmodel = \"a/b\"\n");
    let layers = home.layers_with(&[
        ("PATCHBAY_STORE__URL", "environment"),
        ("patchbay_store__READERS", "6"),
        ("PATCHBAY_AGENTS__MAIN2__MAX_TURNS", "7"),
        ("PATCHBAY_HOME", "/not/a/setting"),
        ("PATCHBAY_TOKEN", "x"),
        ("PATCHBAY_CONFIG", "x"),
        ("PATCHBAY_LOG", "x"),
    ]);
    let layers = layers.with_flag("--set", path("store.readers"), "8");
    let config = layers.load::<Sample>().unwrap().config;
    assert_eq!((config.store.url.as_str(), config.store.readers), ("environment", 8));
    assert_eq!(config.agents["Main2"].max_turns, Some(7), "keys are found without regard to case");
    assert_eq!(config.agents["Main2"].model.as_deref(), Some("a/b"));
}

#[test]
fn variables_are_read_as_toml_where_that_fits() {
    let home = Home::empty();
    let layers = home.layers_with(&[
        ("PATCHBAY_AGENTS__MAIN__FALLBACKS", "[\"a/b\", 'c/d']"),
        ("PATCHBAY_AGENTS__MAIN__MODEL", "local/default"),
        ("PATCHBAY_AUTH__PASSWORD", "12345678"),
        ("PATCHBAY_AUTH__REQUIRED", "false"),
        ("PATCHBAY_LISTEN__0__BACKLOG", "99"),
        ("PATCHBAY_PROVIDERS__X__KIND", "openai"),
        ("PATCHBAY_PROVIDERS__X__API_KEY", "{ env = \"NAME\" }"),
        ("PATCHBAY_EXTRA__FLAG", "true"),
    ]);
    let loaded = layers.load::<Sample>().unwrap();
    let config = &loaded.config;
    assert_eq!(config.agents["main"].fallbacks, ["a/b", "c/d"]);
    assert_eq!(config.agents["main"].model.as_deref(), Some("local/default"));
    assert_eq!(config.auth.password.as_deref(), Some("12345678"), "digits stay a text where a text is due");
    assert!(!config.auth.required);
    assert_eq!((config.listen[0].backlog, config.listen[0].address.as_str()), (99, "127.0.0.1:18790"));
    let ProviderSection::Openai { api_key, .. } = &config.providers["x"] else { panic!() };
    assert_eq!(api_key, &Some(Secret::new("substituted")));
    assert_eq!(config.extra["flag"], json!(true));
    assert_eq!(
        loaded.warnings[0].to_string(),
        "environment variable PATCHBAY_AUTH__REQUIRED: auth.required: anyone on this machine may call"
    );
}

#[test]
fn a_problem_names_the_layer_it_lies_in() {
    let home = Home::with("[store]\nreaders = 5\n");
    let layers = home
        .layers_with(&[
            ("PATCHBAY_STORE__READERS", "many"),
            ("PATCHBAY_AGENTS__MAIN__MODLE", "x"),
            ("PATCHBAY_PROVIDERS__X__BASE_URL", "u"),
            ("PATCHBAY_LISTEN__3__BACKLOG", "1"),
        ])
        .with_flag_value("--listen", path("listen"), json!([{"dialect": "alef", "address": "a"}]));
    assert_eq!(
        problems(layers.load()),
        [
            "environment variable PATCHBAY_AGENTS__MAIN__MODLE: agents.main.modle: unknown key; did you mean `model`?",
            "environment variable PATCHBAY_LISTEN__3__BACKLOG: listen[3].backlog: `listen` has 1 items; the next is number 1",
            "environment variable PATCHBAY_PROVIDERS__X__BASE_URL: providers.x.kind: is required and missing; expected `openai`, `ollama`",
            "environment variable PATCHBAY_STORE__READERS: store.readers: expected an integer, found the string `many`",
            "--listen: listen[0].dialect: unknown value `alef`; did you mean `aleph`?",
        ]
    );
}

#[test]
fn a_variable_that_is_no_setting_is_only_a_warning() {
    let home = Home::empty();
    let layers = home.layers_with(&[("PATCHBAY_STORE_URL", "x"), ("PATCHBAY_AGNETS", "x"), ("PATCHBAY_E2E_DIR", "x")]);
    let warnings: Vec<String> = layers.load::<Sample>().unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "environment variable PATCHBAY_AGNETS: `PATCHBAY_AGNETS` is not a setting; did you mean `PATCHBAY_AGENTS`?",
            "environment variable PATCHBAY_E2E_DIR: `PATCHBAY_E2E_DIR` is not a setting",
            "environment variable PATCHBAY_STORE_URL: `PATCHBAY_STORE_URL` is not a setting; did you mean `PATCHBAY_STORE__URL`?",
        ]
    );
}

#[test]
fn references_are_followed_where_a_text_may_stand() {
    let home = Home::with(
        r#"
[store]
url = "${SCHEME}:$${NAME}/${NAME}$x"
readers = "${READERS}"
[[auth.token]]
id = { env = "NAME" }
secret = { file = "keys/ci" }
[providers.o]
kind = "ollama"
headers = { env = "stays" }
[extra]
any = { file = "keys/ci" }
"#,
    );
    std::fs::create_dir(home.path.join("keys")).unwrap();
    std::fs::write(home.path.join("keys/ci"), "from the file\n\r\n").unwrap();
    let config = home.layers_with(&[("SCHEME", "sqlite"), ("READERS", "9")]).load::<Sample>().unwrap().config;
    assert_eq!(config.store.url, "sqlite:${NAME}/substituted$x");
    assert_eq!(config.store.readers, 9);
    assert_eq!(config.auth.token[0].id, "substituted");
    assert_eq!(config.auth.token[0].secret, Secret::new("from the file\n"), "one line break is trimmed");
    let ProviderSection::Ollama(ollama) = &config.providers["o"] else { panic!() };
    assert_eq!(ollama.headers["env"], "stays", "a map of texts is not a reference");
    assert_eq!(config.extra["any"], json!("from the file\n"));
}

#[test]
fn a_reference_that_leads_nowhere_names_key_and_target() {
    let home = Home::with(
        "[store]\nurl = \"${GONE}\"\nreaders = \"x${GONE_TOO}\"\n[agents.main]\nmodel = \"${not a name}\"\n[[auth.token]]\nid = { env = \"GONE\" }\nsecret = { file = \"gone\" }\n[auth]\npassword = { file = \".\" }\n",
    );
    let at = |line: u32| format!("{}:{line}", home.file.display());
    assert_eq!(
        problems(home.layers().load()),
        [
            format!("{}: store.url: environment variable `GONE` is not set", at(2)),
            format!("{}: store.readers: environment variable `GONE_TOO` is not set", at(3)),
            format!(
                "{}: agents.main.model: `${{` is not followed by a variable's name and `}}`; write `$${{` for a literal `${{`",
                at(5)
            ),
            format!("{}: auth.token[0].id: environment variable `GONE` is not set", at(7)),
            format!("{}: auth.token[0].secret: file `{}` does not exist", at(8), home.path.join("gone").display()),
            format!("{}: auth.password: file `{}` is not a regular file", at(10), home.path.join(".").display()),
        ]
    );
}

#[test]
fn what_a_reference_held_is_not_told() {
    let home = Home::with("[agents.main]\nthinking = \"${WORD}\"\n[store]\nreaders = \"${WORD}\"\n");
    let found = problems(home.layers_with(&[("WORD", "hidden-word")]).load());
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|problem| problem.contains("`${WORD}`") && !problem.contains("hidden-word")), "{found:?}");
}

#[test]
fn a_check_of_what_is_handed_over_opens_no_file_and_knows_no_layer() {
    let layers = layers_of_nothing().with_flag("--x", path("store.readers"), "never");
    let text = "[auth]\nrequired = false\n[[auth.token]]\nid = \"a\"\nsecret = { file = \"/etc/shadow/none\" }\n";
    // The assumed content is short, which the owner's rule finds; that no file was opened is the point.
    let validation = layers.validate_text::<Sample>(text);
    assert_eq!(validation.errors.len(), 1);
    assert_eq!(validation.errors[0].path, "auth.token[0].secret");

    let json = layers.validate_value::<Sample>(&json!(" {\"auth\": {\"required\": false, \"password\": null}}"));
    assert!(json.valid);
    assert_eq!(json.warnings[0].path, "auth.required");
    for (given, message) in [
        (json!("{\"auth\": "), "line 1:9: not JSON: EOF while parsing a value"),
        (json!("a = \n"), "line 1:5: "),
        (json!(17), "expected an object"),
        (json!("{}{}"), "line 1:3: not JSON: trailing characters"),
    ] {
        let refused = layers.validate_value::<Sample>(&given);
        assert!(!refused.valid);
        assert!(refused.errors[0].message.contains(message), "{refused:?}");
    }
}

#[test]
fn words_are_read_as_the_setting_needs_them() {
    let value = |key: &str, text: &str| setting_value::<Sample>(&path(key), text);
    assert_eq!(value("store.readers", "5"), json!(5));
    assert_eq!(value("store.url", "5"), json!("5"));
    assert_eq!(value("agents.main.fallbacks", "[\"a/b\"]"), json!(["a/b"]));
    assert_eq!(value("auth.token[0].secret", "{ env = \"X\" }"), json!({"env": "X"}));
}

#[test]
fn the_environment_is_never_printed() {
    let layers =
        Home::empty().layers_with(&[("X", "very-secret")]).with_flag("--y", path("auth.password"), "very-secret");
    assert!(!format!("{layers:?}").contains("very-secret"));
}

proptest! {
    /// Any combination of layers: the highest that speaks decides.
    #[test]
    fn the_highest_layer_that_speaks_decides(
        file in prop::option::of(1u8..=64), environment in prop::option::of(1u8..=64), flag in prop::option::of(1u8..=64)
    ) {
        let text = file.map(|n| format!("[store]\nreaders = {n}\n")).unwrap_or_default();
        let variable = environment.map(|n| n.to_string());
        let pairs: Vec<(&str, &str)> = variable.iter().map(|text| ("PATCHBAY_STORE__READERS", text.as_str())).collect();
        let mut layers = Layers::new("/nonexistent", "config.toml", crate::sample::environment(&pairs));
        if let Some(n) = flag {
            layers = layers.with_flag("--readers", path("store.readers"), n.to_string());
        }
        let loaded = layers.load_bytes::<Sample>(text.as_bytes()).unwrap();
        prop_assert_eq!(loaded.config.store.readers, flag.or(environment).or(file).unwrap_or(4));
    }

    #[test]
    fn any_bytes_load_or_are_refused_with_a_line(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Err(problems) = layers_of_nothing().load_bytes::<Sample>(&bytes) {
            prop_assert!(problems.iter().all(|problem| problem.line.is_some()), "{}", problems);
        }
    }

    #[test]
    fn any_toml_of_known_words_loads_or_is_refused_with_a_line(
        lines in prop::collection::vec(
            ("(\\[\\[?)?(listen|auth|auth\\.token|store|agents\\.main|providers\\.a|readers|kind|model|secret|url)",
             "(\\]|\\]\\]| = 1| = \"x\"| = \\{ env = \"NAME\" \\}| = \\[\\{\\}\\]| = \"openai\"|)"), 0..8)
    ) {
        let text: String = lines.into_iter().map(|(left, right)| format!("{left}{right}\n")).collect();
        if let Err(problems) = layers_of_nothing().load_bytes::<Sample>(text.as_bytes()) {
            prop_assert!(problems.iter().all(|problem| problem.line.is_some()), "{}\n{}", text, problems);
        }
    }
}
