//! `write_file`: a whole text file of the workspace.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::arguments::{schema_of, typed};
use crate::context::ToolContext;
use crate::tool::{Tool, ToolError, ToolOutput};
use crate::workspace::{InsidePath, Workspace, Written, blocking};

/// Largest content, in bytes.
pub const CONTENT_BYTES_MAX: usize = 1024 * 1024;

pub struct WriteFile;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Path of the file, relative to the workspace, with `/` between folders.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// The whole content of the file, at most 1 MiB.
    content: String,
}

#[async_trait]
impl Tool for WriteFile {
    fn name(&self) -> &'static str {
        "write_file"
    }

    fn description(&self) -> &'static str {
        "Writes a whole text file of the workspace, at most 1 MiB; a file that is there is replaced, missing folders \
         are made. Read a file before you replace it. Symbolic links and write-protected files are refused."
    }

    fn parameters(&self) -> Value {
        schema_of::<Arguments>()
    }

    /// The file may have been changed by its user since: writing again would undo that.
    fn is_repeatable(&self) -> bool {
        false
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolError> {
        let Arguments { path, content } = typed(arguments)?;
        let path = InsidePath::parse_file(&path)?;
        let bytes = content.len();
        if bytes > CONTENT_BYTES_MAX {
            return Err(ToolError::Invalid(format!(
                "`content` has {bytes} bytes; at most {CONTENT_BYTES_MAX} are written"
            )));
        }
        let (folder, cancel) = (context.workspace.clone(), context.cancel.clone());
        blocking(move || {
            if cancel.is_cancelled() {
                return Err(ToolError::Cancelled);
            }
            let text = match Workspace::open(&folder)?.write(&path, content.as_bytes(), &cancel)? {
                Written::Created => format!("created `{path}` with {bytes} bytes"),
                Written::Replaced => format!("replaced `{path}`, now {bytes} bytes"),
            };
            Ok(ToolOutput { text })
        })
        .await
    }
}
