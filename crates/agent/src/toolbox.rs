//! The tools of a turn, and one call of them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use model::{ClientTool, ClientTools, ToolCall, ToolChoice};
use providers::ToolSpec;
use tools::{CheckedTool, ToolContext, ToolError, ToolOutput};

use crate::journal::ToolOutcome;
use crate::prompt;

/// How long a tool may take to end by itself after the run was cancelled; then it is dropped. A
/// tool that has just done its work gets to say so.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// The tools of a turn, ready to be called, and those that its client runs.
pub(crate) struct Toolbox {
    tools: Vec<CheckedTool>,
    /// Without tools when the model shall not call them.
    client: ClientTools,
    /// The own tools, then the client's.
    specs: Vec<ToolSpec>,
}

impl Toolbox {
    pub(crate) fn new(tools: Vec<CheckedTool>, mut client: ClientTools) -> Self {
        if client.choice == ToolChoice::None {
            client.tools.clear();
        }
        let specs = tools.iter().map(spec).chain(client.tools.iter().map(client_spec)).collect();
        Self { tools, client, specs }
    }

    /// How much of the model's context the tools take, in characters.
    pub(crate) fn chars(&self) -> usize {
        let of_client =
            |tool: &ClientTool| tool.name.len() + tool.description.len() + tool.parameters.to_string().len();
        let own: usize = self.tools.iter().map(CheckedTool::chars).sum();
        own + self.client.tools.iter().map(of_client).sum::<usize>()
    }

    /// Whether the client runs this tool.
    pub(crate) fn is_clients(&self, name: &str) -> bool {
        self.get(name).is_none() && self.client.tools.iter().any(|tool| tool.name == name)
    }

    /// What the client says of calls; its choice among tools that the model is not shown is none.
    pub(crate) fn choice(&self) -> (ToolChoice, Option<bool>) {
        if self.client.tools.is_empty() {
            return (ToolChoice::Auto, None);
        }
        (self.client.choice.clone(), self.client.parallel)
    }

    pub(crate) fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    /// The system text, with what to know about tools when there are any.
    pub(crate) fn with_guidance(&self, system: String) -> String {
        match (self.specs.is_empty(), system.is_empty()) {
            (true, _) => system,
            (false, true) => String::from(prompt::TOOL_GUIDANCE),
            (false, false) => format!("{system}\n\n{}", prompt::TOOL_GUIDANCE),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&CheckedTool> {
        self.tools.iter().find(|checked| checked.tool().name() == name)
    }

    /// For a model that named a tool that it does not have.
    fn unknown(&self, name: &str) -> String {
        let mut names: Vec<&str> = self.specs.iter().map(|spec| spec.name.as_str()).collect();
        if names.is_empty() {
            return format!("there is no tool `{name}`, nor any other");
        }
        let likeness = |known: &&str| strsim::jaro_winkler(&name.to_lowercase(), known);
        names.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
        names.truncate(3);
        format!("there is no tool `{name}`; the nearest are `{}`", names.join("`, `"))
    }

    pub(crate) async fn call(&self, context: &ToolContext, call: &ToolCall) -> Result<ToolOutput, ToolError> {
        let Some(checked) = self.get(&call.name) else {
            return Err(ToolError::Invalid(self.unknown(&call.name)));
        };
        let work = AssertUnwindSafe(checked.call(context, &call.arguments)).catch_unwind();
        let given_up = async {
            context.cancel.cancelled().await;
            tokio::time::sleep(CANCEL_GRACE).await;
        };
        tokio::select! {
            biased;
            ended = work => ended.unwrap_or_else(|_| {
                tracing::error!(tool = call.name, "a tool panicked");
                Err(ToolError::Failed(format!("`{}` crashed; this is a fault of the tool, not of the call", call.name)))
            }),
            () = given_up => Err(ToolError::Cancelled),
        }
    }
}

fn spec(checked: &CheckedTool) -> ToolSpec {
    ToolSpec {
        name: checked.tool().name().to_owned(),
        description: checked.tool().description().to_owned(),
        parameters: Arc::clone(checked.parameters()),
    }
}

fn client_spec(tool: &ClientTool) -> ToolSpec {
    ToolSpec {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: Arc::new(tool.parameters.clone()),
    }
}

/// A call that is over, or that will never be.
pub(crate) struct Ended {
    pub(crate) call: ToolCall,
    pub(crate) outcome: ToolOutcome,
    pub(crate) duration_ms: u64,
}
