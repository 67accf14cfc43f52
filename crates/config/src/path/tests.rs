use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(text: &str) -> Path {
    text.parse().unwrap()
}

#[test]
fn paths_are_read_as_people_write_them() {
    let expected = Path::root().key("auth").key("token").index(0).key("scopes");
    assert_eq!(parse("auth.token[0].scopes"), expected);
    assert_eq!(parse(r#"models."gpt-4.1".family"#), Path::root().key("models").key("gpt-4.1").key("family"));
    assert_eq!(parse("models.'a\\b'"), Path::root().key("models").key("a\\b"));
    assert_eq!(parse("grid[1][2]"), Path::root().key("grid").index(1).index(2));
}

#[test]
fn what_is_not_a_path_is_refused_with_a_reason() {
    for text in ["", ".", "a.", "a..b", "a[", "a[x]", "a[0]b", "a b", "\"open", "[0]", "a]", "\"a\"\"b\""] {
        let error = text.parse::<Path>().unwrap_err();
        assert_eq!(error.text, text);
        assert!(!error.reason.is_empty());
    }
}

#[test]
fn a_path_finds_its_value() {
    let tree = json!({"auth": {"token": [{"id": "ci"}]}});
    assert_eq!(parse("auth.token[0].id").find(&tree), Some(&json!("ci")));
    assert_eq!(parse("auth.token[1].id").find(&tree), None);
    assert_eq!(parse("auth[0]").find(&tree), None);
    assert_eq!(parse("auth.token[0].id").last_key(), Some("id"));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(keys in prop::collection::vec((".{0,12}", prop::option::of(0usize..99)), 1..5)) {
        let mut path = Path::root();
        for (key, index) in keys {
            path = path.key(key);
            if let Some(index) = index {
                path = path.index(index);
            }
        }
        prop_assert_eq!(path.to_string().parse::<Path>(), Ok(path));
    }

    #[test]
    fn reading_never_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<Path>();
    }
}
