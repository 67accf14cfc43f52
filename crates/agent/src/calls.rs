//! Running the tools that a model asked for.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use model::{NewMessage, ToolCall};
use providers::ToolSpec;
use tools::{CheckedTool, Tool, ToolContext, ToolError, ToolOutput};

use crate::course::Course;
use crate::journal::{JournalError, ToolOutcome};
use crate::output::cut_middle;
use crate::prompt;
use crate::turn::OpenCall;

/// Calls of one answer that run at the same time when none of them has to run alone.
const PARALLEL_MAX: usize = 8;

/// How long a tool may take to end by itself after the run was cancelled; then it is dropped. A
/// tool that has just done its work gets to say so.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

const INTERRUPTED: &str = "interrupted: the gateway was restarted while this tool ran, and whether it did its work is unknown. \
                           Find out before you call it again.";

/// The tools of a turn, ready to be called.
pub(crate) struct Toolbox {
    tools: Vec<CheckedTool>,
    specs: Vec<ToolSpec>,
}

impl Toolbox {
    /// A tool whose parameters are no schema is left out: one bad tool must not stop an agent.
    pub(crate) fn new(tools: &[Arc<dyn Tool>]) -> Self {
        let check = |tool: &Arc<dyn Tool>| match CheckedTool::new(Arc::clone(tool)) {
            Ok(checked) => Some(checked),
            Err(reason) => {
                tracing::error!(tool = tool.name(), reason, "a tool is left out");
                None
            }
        };
        let tools: Vec<CheckedTool> = tools.iter().filter_map(check).collect();
        let specs = tools.iter().map(|checked| spec(&**checked.tool())).collect();
        Self { tools, specs }
    }

    pub(crate) fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    /// The system text, with what to know about tools when there are any.
    pub(crate) fn with_guidance(&self, system: String) -> String {
        match (self.tools.is_empty(), system.is_empty()) {
            (true, _) => system,
            (false, true) => String::from(prompt::TOOL_GUIDANCE),
            (false, false) => format!("{system}\n\n{}", prompt::TOOL_GUIDANCE),
        }
    }

    fn get(&self, name: &str) -> Option<&CheckedTool> {
        self.tools.iter().find(|checked| checked.tool().name() == name)
    }

    /// For a model that named a tool that it does not have.
    fn unknown(&self, name: &str) -> String {
        let mut names: Vec<&str> = self.tools.iter().map(|checked| checked.tool().name()).collect();
        if names.is_empty() {
            return format!("there is no tool `{name}`, nor any other");
        }
        let likeness = |known: &&str| strsim::jaro_winkler(&name.to_lowercase(), known);
        names.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
        names.truncate(3);
        format!("there is no tool `{name}`; the nearest are `{}`", names.join("`, `"))
    }

    async fn call(&self, context: &ToolContext, call: &ToolCall) -> Result<ToolOutput, ToolError> {
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

fn spec(tool: &dyn Tool) -> ToolSpec {
    ToolSpec { name: tool.name().to_owned(), description: tool.description().to_owned(), parameters: tool.parameters() }
}

/// A call that is over, or that will never be.
pub(crate) struct Ended {
    pub(crate) call: ToolCall,
    pub(crate) outcome: ToolOutcome,
    duration_ms: u64,
}

impl Course<'_> {
    /// Runs calls and adds their results to the conversation, in the order of the calls. Each is
    /// told to the journal as ended, whatever happens.
    pub(crate) async fn run_calls(&mut self, calls: Vec<OpenCall>) -> Result<Vec<Ended>, JournalError> {
        let runs_alone =
            |open: &OpenCall| self.toolbox.get(&open.call.name).is_some_and(|checked| checked.tool().runs_alone());
        let width = if calls.iter().any(runs_alone) { 1 } else { PARALLEL_MAX };
        let mut ended = Vec::with_capacity(calls.len());
        let mut waiting = calls.into_iter();
        let mut running = FuturesOrdered::new();
        loop {
            while running.len() < width
                && let Some(open) = waiting.next()
            {
                running.push_back(self.run_call(open));
            }
            let Some(one) = running.next().await else { break };
            let one = one?;
            self.journal.tool_ended(&one.call, &one.outcome, one.duration_ms).await?;
            ended.push(one);
        }
        drop(running);
        self.turn.history.extend(ended.iter().map(tool_message));
        Ok(ended)
    }

    async fn run_call(&self, open: OpenCall) -> Result<Ended, JournalError> {
        let OpenCall { call, was_started } = open;
        let is_repeatable = self.toolbox.get(&call.name).is_some_and(|checked| checked.tool().is_repeatable());
        if was_started && !is_repeatable {
            let outcome = ToolOutcome { text: String::from(INTERRUPTED), is_error: true, interrupted: true };
            return Ok(Ended { call, outcome, duration_ms: 0 });
        }
        let context = &self.turn.context;
        if context.cancel.is_cancelled() {
            let outcome =
                ToolOutcome { text: String::from("cancelled before it began"), is_error: true, interrupted: false };
            return Ok(Ended { call, outcome, duration_ms: 0 });
        }
        self.journal.tool_started(&call).await?;
        let began = context.clock.now();
        let result = self.toolbox.call(context, &call).await;
        let duration_ms = context.clock.now().ms_since(began);
        let (text, is_error) = match result {
            Ok(output) => (output.text, false),
            Err(ToolError::Cancelled) => (String::from("cancelled"), true),
            Err(error) => (format!("error: {error}"), true),
        };
        let text = cut_middle(&text, self.turn.limits.tool_output_chars).into_owned();
        Ok(Ended { call, outcome: ToolOutcome { text, is_error, interrupted: false }, duration_ms })
    }
}

fn tool_message(ended: &Ended) -> NewMessage {
    let mut message = NewMessage::tool_result(ended.call.id.as_str(), ended.outcome.text.as_str());
    if ended.outcome.is_error {
        // Some vendors have a field for it.
        message.metadata.insert(String::from("is_error"), true.into());
    }
    message
}
