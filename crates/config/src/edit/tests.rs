use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sample::TEXT;

fn edit(text: &str) -> Edit {
    Edit::of("config.toml".into(), text.as_bytes().to_vec()).unwrap()
}

/// The text after setting `path` in `text`.
fn set(text: &str, path: &str, value: Value) -> String {
    let mut edit = edit(text);
    edit.set(path, &value).unwrap();
    assert_eq!(edit.get(path).unwrap(), Some(value));
    edit.text()
}

fn unset(text: &str, path: &str) -> String {
    let mut edit = edit(text);
    assert!(edit.unset(path).unwrap());
    assert_eq!(edit.get(path).unwrap(), None);
    edit.text()
}

fn comments(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.find('#').map(|at| &line[at..])).collect()
}

#[test]
fn a_value_is_replaced_where_it_stands() {
    let changed = set(TEXT, "agents.main.model", json!("a/b"));
    assert_eq!(changed, TEXT.replace("model = 'openai/gpt' # after", "model = \"a/b\" # after"));
    let changed = set(TEXT, "auth.token[0].scopes[1]", json!("admin"));
    assert_eq!(changed, TEXT.replace("\"write\"", "\"admin\""));
    let changed = set(TEXT, "auth.token[0].secret.env", json!("OTHER"));
    assert_eq!(changed, TEXT.replace("\"CI_TOKEN\"", "\"OTHER\""));
}

#[test]
fn what_is_said_already_is_not_touched() {
    assert_eq!(set(TEXT, "agents.main.max_turns", json!(1000)), TEXT);
    assert_eq!(set(TEXT, "listen[1]", json!({"dialect": "comis", "address": "127.0.0.1:2", "backlog": 16})), TEXT);
}

#[test]
fn a_new_key_goes_to_its_table() {
    let changed = set(TEXT, "agents.main.thinking", json!("low"));
    assert_eq!(changed, TEXT.replace("max_turns = 1_000\n", "max_turns = 1_000\nthinking = \"low\"\n"));
    let changed = set(TEXT, "auth.token[0].scopes[2]", json!("admin"));
    assert_eq!(changed, TEXT.replace("  \"write\",\n", "  \"write\",\n  \"admin\",\n"));
}

#[test]
fn tables_are_made_as_needed() {
    assert_eq!(set("", "agents.main.model", json!("a/b")), "[agents.main]\nmodel = \"a/b\"\n");
    assert_eq!(set("", "auth.token[0].id", json!("ci")), "[[auth.token]]\nid = \"ci\"\n");
    assert_eq!(set("", "listen[0]", json!({"dialect": "aleph"})), "[[listen]]\ndialect = \"aleph\"\n");
    assert_eq!(set("", "grid[0][0]", json!(1)), "grid = [[1]]\n");
    assert_eq!(
        set("", "store", json!({"url": "x", "pool": {"size": 2}, "secret": {"env": "S"}})),
        "[store]\nsecret = { env = \"S\" }\nurl = \"x\"\n\n[store.pool]\nsize = 2\n"
    );
    let changed = set(TEXT, "store.url", json!("x"));
    assert_eq!(changed, format!("{TEXT}\n[store]\nurl = \"x\"\n"), "a new section goes after everything");
    let changed = set(TEXT, "agents.third.model", json!("c/d"));
    assert_eq!(
        changed,
        TEXT.replace("fallbacks = [\"a/b\"]\n", "fallbacks = [\"a/b\"]\n\n[agents.third]\nmodel = \"c/d\"\n"),
        "a new entry goes after its siblings"
    );
    let changed = set(TEXT, "auth.token[1].id", json!("second"));
    assert!(changed.contains("  \"write\",\n]\n\n[[auth.token]]\nid = \"second\"\n\n# Agents follow."), "{changed}");
    assert_eq!(set("# only words", "store.url", json!("x")), "# only words\n\n[store]\nurl = \"x\"\n");
    assert_eq!(set("a = 1", "b", json!(2)), "a = 1\nb = 2\n");
}

#[test]
fn quoted_keys_and_inline_tables_are_reached() {
    assert_eq!(set("", "models.\"gpt-4.1\".family", json!("gpt")), "[models.\"gpt-4.1\"]\nfamily = \"gpt\"\n");
    assert_eq!(
        set("a = { b = 1 } # c\n", "a.c", json!({"d": [1, {"e": 2}]})),
        "a = { b = 1, c = { d = [1, { e = 2 }] } } # c\n"
    );
    assert_eq!(set("a = [{ b = 1 }]\n", "a[0].b", json!(2)), "a = [{ b = 2 }]\n");
    assert_eq!(set("a.b = 1\n", "a.c", json!(2)), "a.b = 1\na.c = 2\n");
}

#[test]
fn a_key_is_cut_with_its_line_and_the_comments_above_stay() {
    assert_eq!(unset(TEXT, "agents.main.model"), TEXT.replace("model = 'openai/gpt' # after the model\n", ""));
    assert_eq!(unset("a = 1\n", "a"), "");
    assert_eq!(unset("a = { b = 1, c = 2 }\n", "a.c").replace(' ', ""), "a={b=1}\n");
    assert_eq!(unset("a.b = 1\nc = 2\na.d = 3\n", "a"), "c = 2\n");
    let without_scopes = unset(TEXT, "auth.token[0].scopes");
    assert!(without_scopes.contains("secret = { env = \"CI_TOKEN\" }\n\n# Agents follow."), "{without_scopes}");
}

#[test]
fn a_table_is_cut_with_its_parts() {
    assert_eq!(
        unset("[a]\nx = 1\n# inside\ny = 2\n\n# next\n[b]\nz = 3\n\n[a.c]\nq = 1\n", "a"),
        "# next\n[b]\nz = 3\n\n"
    );
    let changed = unset(TEXT, "listen[1]");
    assert_eq!(
        changed,
        TEXT.replace("[[listen]]\ndialect = \"comis\"\naddress = \"127.0.0.1:2\"\nbacklog = 0x10\n\n", "\n")
            .replace("dialect\n\n\n[auth]", "dialect\n\n[auth]")
    );
    let changed = unset(TEXT, "auth.token");
    assert!(changed.contains("required = true\n# before the tokens\n\n# Agents follow."), "{changed}");
    assert_eq!(unset(TEXT, "agents.side"), TEXT.replace("[agents.side]\nfallbacks = [\"a/b\"]\n\n", ""));
}

#[test]
fn what_is_not_there_needs_no_unsetting() {
    let mut edit = edit(TEXT);
    assert!(!edit.unset("agents.gone").unwrap());
    assert!(!edit.unset("listen[7]").unwrap());
    edit.set("agents.gone.model", &Value::Null).unwrap();
    assert_eq!(edit.text(), TEXT);
}

#[test]
fn a_patch_changes_only_what_it_names() {
    let mut edit = edit(TEXT);
    let patch = json!({"agents": {"main": {"model": "x/y", "max_turns": null}, "new": {"model": "n/m"}}});
    edit.merge(&Path::root(), &patch).unwrap();
    let expected = TEXT
        .replace("model = 'openai/gpt' # after", "model = \"x/y\" # after")
        .replace("max_turns = 1_000\n", "")
        .replace("fallbacks = [\"a/b\"]\n", "fallbacks = [\"a/b\"]\n\n[agents.new]\nmodel = \"n/m\"\n");
    assert_eq!(edit.text(), expected);
}

#[test]
fn a_placeholder_keeps_the_secret_and_is_refused_where_there_is_none() {
    let mut edit = edit(TEXT);
    let shown = json!([{"id": "renamed", "secret": REDACTED, "scopes": ["read", "write"]}]);
    edit.set("auth.token", &shown).unwrap();
    assert_eq!(edit.text(), TEXT.replace("id = \"ci\"", "id = \"renamed\""));
    edit.set("providers.openai.api_key", &json!(REDACTED)).unwrap();
    assert_eq!(edit.get("providers.openai.api_key").unwrap(), Some(json!("sk-${NAME}-x")));
    let refused = edit.set("providers.other", &json!({"kind": "openai", "api_key": REDACTED})).unwrap_err();
    assert!(refused.to_string().starts_with("`providers.other.api_key` has no secret to keep"), "{refused}");
    assert!(edit.set("store.url", &json!("postgres://u:[REDACTED]@h")).is_err());

    let mut edit = super::tests::edit("[store]\nurl = \"postgres://u:p@h/db\" # db\n");
    edit.set("store.url", &json!("postgres://u:[REDACTED]@h/db")).unwrap();
    assert_eq!(edit.text(), "[store]\nurl = \"postgres://u:p@h/db\" # db\n");
}

#[test]
fn an_edit_that_makes_no_sense_is_refused_and_changes_nothing() {
    let mut edit = edit(TEXT);
    for (path, value) in [
        ("agents.main.model.x", json!(1)),
        ("agents[0]", json!(1)),
        ("listen[9].address", json!("x")),
        ("listen[0]", json!(1)),
        ("listen.address", json!("x")),
        ("auth.required[0]", json!(1)),
        ("agents.main.fallbacks", json!([null])),
        ("agents.main.max_turns", json!(u64::MAX)),
        ("a..b", json!(1)),
    ] {
        assert!(edit.set(path, &value).is_err(), "{path}");
    }
    assert_eq!(edit.text(), TEXT);
    assert!(matches!(super::tests::edit("a = \n").get("a"), Err(EditError::Invalid(_))));
}

#[test]
fn line_ends_of_another_system_are_kept() {
    let text = TEXT.replace('\n', "\r\n");
    let changed = set(&text, "agents.main.thinking", json!("low"));
    assert_eq!(changed.matches('\n').count(), changed.matches("\r\n").count());
    assert_eq!(edit(&text).text(), text);
}

/// Values as they come from callers.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        "\\PC{0,12}|[\n\t\"'\\\\#\u{0}-\u{1f}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}|\\PC{1,3}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("agents.main.model".to_owned()),
        Just("agents.main".to_owned()),
        Just("agents".to_owned()),
        Just("auth.token[0].scopes".to_owned()),
        Just("auth.token[0].secret".to_owned()),
        Just("auth.token[0].scopes[1]".to_owned()),
        Just("listen".to_owned()),
        Just("new".to_owned()),
        Just("new.a.\"b c\".d".to_owned()),
        Just("providers.openai.kind".to_owned()),
    ]
}

proptest! {
    #[test]
    fn what_is_set_is_what_one_gets(path in any_path(), value in value()) {
        let mut edit = edit(TEXT);
        edit.set(&path, &value).unwrap();
        prop_assert_eq!(edit.get(&path).unwrap(), Some(value));
        // Nothing outside the path changed.
        let mut after = edit.tree().unwrap();
        let mut before = super::tests::edit(TEXT).tree().unwrap();
        let top = path.split(['.', '[']).next().unwrap();
        for tree in [&mut after, &mut before] {
            tree.as_object_mut().unwrap().remove(top);
        }
        prop_assert_eq!(after, before);
    }

    #[test]
    fn setting_values_keeps_every_comment(
        model in "\\PC{0,20}", turns in any::<u32>(), url in "\\PC{1,20}", flag in any::<bool>(), name in "[a-z]{1,8}"
    ) {
        let mut edit = edit(TEXT);
        edit.set("agents.main.model", &json!(model)).unwrap();
        edit.set("agents.main.max_turns", &json!(turns)).unwrap();
        edit.set("store.url", &json!(url)).unwrap();
        edit.set("auth.required", &json!(flag)).unwrap();
        edit.set("listen[0].address", &json!(url)).unwrap();
        edit.set(&format!("agents.{name}.thinking"), &json!("low")).unwrap();
        edit.set("auth.token[1]", &json!({"id": "x", "secret": {"env": "X"}})).unwrap();
        edit.set("auth.token[0].scopes", &json!(["read", "admin", "mcp"])).unwrap();
        edit.unset("auth.token[0].id").unwrap();
        let kept = edit.text();
        for comment in comments(TEXT).into_iter().filter(|comment| *comment != "# continuous") {
            prop_assert!(kept.contains(comment), "{}\n{}", comment, kept);
        }
    }

    #[test]
    fn what_is_unset_is_gone_and_nothing_else(path in any_path()) {
        let mut edit = edit(TEXT);
        edit.unset(&path).unwrap();
        prop_assert_eq!(edit.get(&path).unwrap().filter(|_| !path.ends_with(']')), None);
        edit.tree().unwrap();
    }
}
