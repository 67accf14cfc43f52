use super::*;
use crate::read_file::ReadFile;
use crate::search_sessions::SearchSessions;
use serde_json::json;

fn told(text: &str) -> String {
    let checked = CheckedTool::new(Arc::new(ReadFile)).unwrap();
    match checked.arguments(text) {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_model_is_told_which_argument_is_wrong_and_why() {
    let messages = [
        (r#"{"path":7}"#, "`path`"),
        (r#"{"path":"a","limit":5000}"#, "`limit`"),
        (r#"{"path":"a","offset":0}"#, "`offset`"),
        (r#"{"offset":1}"#, "'path'"),
        (r#"{"path":"a","colour":"red"}"#, "'colour'"),
        ("{\"path\":", "not JSON"),
    ];
    for (arguments, wanted) in messages {
        let told = told(arguments);
        assert!(told.contains(wanted) && told.contains("read_file"), "{arguments}: {told}");
    }
}

#[test]
fn optional_arguments_may_be_null_and_no_text_is_no_arguments() {
    assert_eq!(told(r#"{"path":"a","offset":null,"limit":3}"#), r#"{"limit":3,"offset":null,"path":"a"}"#);
    assert!(told("").contains("'path'"));
}

#[test]
fn schemas_hold_only_what_a_model_needs() {
    let expected = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["query"],
        "properties": {
            "query": {
                "type": "string", "minLength": 1, "maxLength": 500,
                "description": "Words that must all occur in a message.",
            },
            "limit": {
                "type": ["integer", "null"], "minimum": 1, "maximum": 50,
                "description": "Most hits to give; 10 when absent.",
            },
        },
    });
    assert_eq!(SearchSessions.parameters(), expected);
}
