//! `search_sessions`: full-text search over the agent's own conversations.

use std::fmt::Write;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::arguments::{schema_of, typed};
use crate::context::ToolContext;
use crate::tool::{Tool, ToolError, ToolOutput};

/// Hits without a limit of the model's own.
const LIMIT_DEFAULT: u32 = 10;
/// Most hits.
const LIMIT_MAX: u32 = 50;

pub struct SearchSessions;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Words that must all occur in a message.
    #[schemars(length(min = 1, max = 500))]
    query: String,
    /// Most hits to give; 10 when absent.
    #[schemars(range(min = 1, max = 50))]
    limit: Option<u32>,
}

#[async_trait]
impl Tool for SearchSessions {
    fn name(&self) -> &'static str {
        "search_sessions"
    }

    fn description(&self) -> &'static str {
        "Searches your earlier conversations for messages that have all the given words, best matches first. \
         Use it when the user refers to something that was said before."
    }

    fn parameters(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolError> {
        let Arguments { query, limit } = typed(arguments)?;
        let query = query.trim();
        if query.is_empty() {
            return Err(ToolError::Invalid(String::from("`query`: has no words")));
        }
        let limit = limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
        let hits = tokio::select! {
            biased;
            () = context.cancel.cancelled() => return Err(ToolError::Cancelled),
            hits = context.sessions.search(&context.agent, query, limit) => hits?,
        };
        if hits.is_empty() {
            return Ok(ToolOutput { text: format!("no message has all the words of `{query}`") });
        }
        let mut text = String::new();
        for hit in hits.into_iter().take(LIMIT_MAX as usize) {
            let at = hit.at.to_iso();
            writeln!(text, "[{at}] {} in {}: {}", hit.role, hit.session, hit.snippet).expect("a string takes any text");
        }
        Ok(ToolOutput { text })
    }
}
