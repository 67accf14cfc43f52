//! What every tool must keep, whatever it does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::doubles::Bench;
use crate::arguments::CheckedTool;
use crate::registry::is_tool_name;
use crate::tool::{Tool, ToolError};

/// Longest time that a cancelled tool may take; far more than any needs.
const END_AFTER_CANCEL: Duration = Duration::from_secs(20);

/// One tool with examples of its arguments.
pub struct Case {
    pub tool: Arc<dyn Tool>,
    /// Accepted by the schema. They need not succeed, the tool may miss a file.
    pub valid: Vec<Value>,
    /// Refused by the schema or by the tool, beyond what the suite makes up by itself.
    pub invalid: Vec<Value>,
}

/// Runs the whole suite. The message of a failure names the tool.
///
/// # Panics
/// When the tool does not keep its contract.
pub async fn check(case: Case) {
    describes_itself(&*case.tool);
    let checked = CheckedTool::new(Arc::clone(&case.tool)).expect("the parameters are a JSON Schema");
    for arguments in &case.valid {
        assert!(checked.arguments(&arguments.to_string()).is_ok(), "{}: {arguments} is valid", case.tool.name());
    }
    refuses_bad_arguments(&checked, &case).await;
    ends_when_cancelled(&checked, &case.valid).await;
}

fn describes_itself(tool: &dyn Tool) {
    let name = tool.name();
    assert!(is_tool_name(name), "`{name}` is a tool name");
    assert!((20..=1000).contains(&tool.description().len()), "{name}: the description is a few sentences");
    let schema = tool.parameters();
    assert_eq!(schema["type"], "object", "{name}");
    assert_eq!(schema["additionalProperties"], false, "{name}: unknown arguments are refused");
    let properties = schema["properties"].as_object().expect("the schema lists its properties");
    for (property, schema) in properties {
        let is_described = schema["description"].as_str().is_some_and(|text| !text.is_empty());
        assert!(is_described, "{name}: `{property}` is described");
    }
}

async fn refuses_bad_arguments(checked: &CheckedTool, case: &Case) {
    let name = checked.tool().name();
    let mut bad: Vec<String> = ["[]", "null", "7", "\"x\"", "{", "{\"", "nonsense", "{}}"].map(String::from).to_vec();
    bad.extend(case.invalid.iter().map(Value::to_string));
    let valid = case.valid.first().cloned().unwrap_or_else(|| json!({}));
    bad.push(with(&valid, "no_such_argument", json!(1)).to_string());
    let schema = checked.tool().parameters();
    for property in schema["properties"].as_object().expect("checked before").keys() {
        bad.push(with(&valid, property, json!({"an": "object"})).to_string());
    }
    for arguments in bad {
        let bench = Bench::new();
        let before = tree(bench.around());
        let result = checked.call(&bench.context(), &arguments).await;
        assert!(
            matches!(result, Err(ToolError::Invalid(_) | ToolError::Refused(_))),
            "{name} refuses {arguments:.200}, but: {result:?}"
        );
        assert_eq!(tree(bench.around()), before, "{name}: {arguments:.200} changed nothing");
        assert!(bench.user.asked().is_empty() && bench.search.searched().is_empty(), "{name}: nobody was asked");
    }
}

/// The user of the bench never answers, so a tool that waits for one waits until it is cancelled.
async fn ends_when_cancelled(checked: &CheckedTool, valid: &[Value]) {
    for arguments in valid {
        for is_cancelled_first in [true, false] {
            let bench = Bench::new();
            if is_cancelled_first {
                bench.cancel.cancel();
            }
            let (context, text, checked) = (bench.context(), arguments.to_string(), checked.clone());
            let call = tokio::spawn(async move { checked.call(&context, &text).await });
            tokio::task::yield_now().await;
            bench.cancel.cancel();
            let ended = tokio::time::timeout(END_AFTER_CANCEL, call).await;
            assert!(matches!(ended, Ok(Ok(_))), "a cancelled call with {arguments} ends, without a panic");
        }
    }
}

fn with(valid: &Value, key: &str, value: Value) -> Value {
    let mut arguments = valid.clone();
    arguments[key] = value;
    arguments
}

/// Every path below `folder` and the length of each file.
pub fn tree(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            found.push((entry.path(), if metadata.is_file() { metadata.len() } else { 0 }));
        }
    }
    found.sort();
    found
}
