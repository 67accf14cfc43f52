//! `ask_user`: a question to the person behind the run.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::arguments::{schema_of, typed};
use crate::context::ToolContext;
use crate::tool::{Tool, ToolError, ToolOutput};

pub struct AskUserTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The question, in the user's language.
    #[schemars(length(min = 1, max = 2000))]
    prompt: String,
    /// Answers to choose from; the user may still answer in other words.
    #[schemars(length(max = 10), inner(length(min = 1, max = 200)))]
    options: Option<Vec<String>>,
}

#[async_trait]
impl Tool for AskUserTool {
    fn name(&self) -> &'static str {
        "ask_user"
    }

    fn description(&self) -> &'static str {
        "Asks the user a question and waits for the answer. Use it only when you cannot go on without knowing; \
         up to ten options may be offered."
    }

    fn parameters(&self) -> Value {
        schema_of::<Arguments>()
    }

    /// A question that nobody answered before a restart is asked again.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// A user gets one question at a time.
    fn runs_alone(&self) -> bool {
        true
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolError> {
        let Arguments { prompt, options } = typed(arguments)?;
        if prompt.trim().is_empty() {
            return Err(ToolError::Invalid(String::from("`prompt`: asks nothing")));
        }
        let options = options.unwrap_or_default();
        tokio::select! {
            biased;
            () = context.cancel.cancelled() => Err(ToolError::Cancelled),
            answer = context.user.ask(&context.run, &prompt, &options) => answer.map(|text| ToolOutput { text }),
        }
    }
}
