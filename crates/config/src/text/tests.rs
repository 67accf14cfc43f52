use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Result<Parsed, Problems> {
    parse(text.as_bytes(), &Origin::File("config.toml".into()))
}

fn spot(parsed: &Parsed, path: &str) -> Option<(u32, u32)> {
    parsed.spots.0.get(&path.parse().unwrap()).map(|spot| (spot.line, spot.column))
}

#[test]
fn values_and_their_lines_are_read() {
    let parsed = read(
        "top = 1\n\n[agents.main]\nmodel = \"ö\" \nlimits = { turns = 0x10,\n tools = 2.5 }\n\n[[auth.token]]\nid = 'a'\n[[auth.token]]\n  id = 'b'\n",
    )
    .unwrap();
    assert_eq!(
        Value::Object(parsed.tree.clone()),
        json!({
            "top": 1,
            "agents": {"main": {"model": "ö", "limits": {"turns": 16, "tools": 2.5}}},
            "auth": {"token": [{"id": "a"}, {"id": "b"}]},
        })
    );
    assert_eq!(spot(&parsed, "top"), Some((1, 1)));
    assert_eq!(spot(&parsed, "agents.main"), Some((3, 9)));
    assert_eq!(spot(&parsed, "agents.main.model"), Some((4, 1)));
    assert_eq!(spot(&parsed, "agents.main.limits.tools"), Some((6, 2)));
    assert_eq!(spot(&parsed, "auth.token[0].id"), Some((9, 1)));
    assert_eq!(spot(&parsed, "auth.token[1]").map(|(line, _)| line), Some(10));
    assert_eq!(spot(&parsed, "auth.token[1].id"), Some((11, 3)));
    assert_eq!(parsed.spots.nearest(&"agents.main.gone.deep".parse().unwrap()).unwrap().line, 3);
}

#[test]
fn every_syntax_error_has_its_line_and_column() {
    let problems = read("a = 1\nb = \nc = [1, 2\n").unwrap_err();
    assert_eq!((problems[0].line, problems[0].column), (Some(2), Some(5)));
    assert!(problems.len() >= 2, "{problems}");
    assert!(problems.to_string().starts_with("config.toml:2:5: "), "{problems}");
}

#[test]
fn a_key_written_twice_is_a_problem_at_the_second() {
    let problems = read("[a]\nx = 1\nx = 2\n").unwrap_err();
    assert_eq!((problems[0].line, problems[0].message.as_str()), (Some(3), "duplicate key"));
}

#[test]
fn what_no_setting_can_hold_is_refused_by_name() {
    let problems = read("big = 99999999999999999999\nodd = nan\n").unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "config.toml:1: big: `99999999999999999999` does not fit in 64 bits",
            "config.toml:2: odd: `nan` is not a finite number"
        ]
    );
}

#[test]
fn bytes_that_are_no_text_are_told_by_place() {
    let problems = parse(b"a = 1\nb = \"\xff\"\n", &Origin::Given).unwrap_err();
    assert_eq!((problems[0].line, problems[0].column), (Some(2), Some(6)));
}

#[test]
fn a_text_too_large_or_too_deep_is_refused() {
    assert!(read(&" ".repeat(FILE_BYTES_MAX + 1)).unwrap_err()[0].message.contains("1048576"));
    let dotted = vec!["k"; 79].join(".");
    for nested in [
        format!("a = {}{}", "[".repeat(5000), "]".repeat(5000)),
        format!("a = {}{}", "[".repeat(60), "]".repeat(60)),
        format!("{} = 1", vec!["k"; 5000].join(".")),
        format!("{dotted} = 1"),
        format!("a = {}1{}", format!("{{ {dotted} = ").repeat(79), "}".repeat(79)),
        format!("[{dotted}]\na = 1"),
    ] {
        let problems = read(&nested).unwrap_err();
        assert!(problems[0].line.is_some(), "{problems}");
    }
}

#[test]
fn single_values_are_read_as_toml() {
    assert_eq!(parse_value("17"), Some(json!(17)));
    assert_eq!(parse_value(" [\"a\", 'b'] "), Some(json!(["a", "b"])));
    assert_eq!(parse_value("{ env = \"X\" }"), Some(json!({"env": "X"})));
    for text in ["", "plain words", "1\n[x]", "1 2", "nan", "local/default"] {
        assert_eq!(parse_value(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_with_a_line(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(problems) = parse(&bytes, &Origin::Given) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.line.is_some() && problem.column.is_some()));
        }
    }

    #[test]
    fn anything_like_toml_is_read_or_refused_with_a_line(text in "[a-c\\[\\]{}=.,\"'#\\\\\n 0-9x\u{f6}]{0,80}") {
        if let Err(problems) = parse(text.as_bytes(), &Origin::Given) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.line.is_some()));
        }
    }
}
