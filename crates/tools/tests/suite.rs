//! Every built-in tool keeps the contract of tools.

use serde_json::{Value, json};
use tools::Registry;
use tools::testkit::{Case, check};

fn examples(name: &str) -> (Vec<Value>, Vec<Value>) {
    match name {
        "read_file" => (
            vec![json!({"path": "a.txt"}), json!({"path": "a/b.txt", "offset": 3, "limit": 2000})],
            vec![
                json!({}),
                json!({"path": ""}),
                json!({"path": "a", "limit": 0}),
                json!({"path": "a", "limit": 2001}),
                json!({"path": "a", "offset": -1}),
                json!({"path": "../a"}),
                json!({"path": "folder/"}),
            ],
        ),
        "write_file" => (
            vec![json!({"path": "a/b.txt", "content": "hello"}), json!({"path": "empty", "content": ""})],
            vec![
                json!({"path": "a"}),
                json!({"content": "x"}),
                json!({"path": "/etc/passwd", "content": "x"}),
                json!({"path": "new/../../x", "content": "x"}),
                json!({"path": "big", "content": "x".repeat(1024 * 1024 + 1)}),
                json!({"path": ".", "content": "x"}),
            ],
        ),
        "list_files" => (
            vec![json!({}), json!({"path": "a", "depth": 5})],
            vec![json!({"depth": 0}), json!({"depth": 6}), json!({"path": "a/../.."})],
        ),
        "current_time" => (
            vec![json!({}), json!({"time_zone": "Europe/Berlin"})],
            vec![json!({"time_zone": ""}), json!({"time_zone": "Mars/Base"}), json!({"time_zone": "../../etc/passwd"})],
        ),
        "search_sessions" => (
            vec![json!({"query": "roof"}), json!({"query": "a b", "limit": 50})],
            vec![json!({}), json!({"query": ""}), json!({"query": " "}), json!({"query": "a", "limit": 51})],
        ),
        "ask_user" => (
            vec![json!({"prompt": "Which one?", "options": ["this", "that"]}), json!({"prompt": "Why?"})],
            vec![
                json!({}),
                json!({"prompt": ""}),
                json!({"prompt": "\n"}),
                json!({"prompt": "x".repeat(2001)}),
                json!({"prompt": "x", "options": vec!["y"; 11]}),
                json!({"prompt": "x", "options": [""]}),
            ],
        ),
        other => panic!("give examples for `{other}`"),
    }
}

#[tokio::test]
async fn every_built_in_tool_passes_the_suite() {
    for checked in Registry::built_in().select(None) {
        let tool = std::sync::Arc::clone(checked.tool());
        let (valid, invalid) = examples(tool.name());
        check(Case { tool, valid, invalid }).await;
    }
}
