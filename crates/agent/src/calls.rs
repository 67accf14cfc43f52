//! Running the tools that a model asked for.

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use model::NewMessage;
use tools::{ToolContext, ToolError};

use crate::course::Course;
use crate::journal::{JournalError, ToolOutcome};
use crate::output::cut_middle;
use crate::toolbox::Ended;
use crate::turn::OpenCall;

/// Calls of one answer that run at the same time when none of them has to run alone.
const PARALLEL_MAX: usize = 8;

const INTERRUPTED: &str = "interrupted: the gateway was restarted while this tool ran, and whether it did its work is unknown. \
                           Find out before you call it again.";

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
            Err(error) => (format!("error: {error}{}", elsewhere(&error, context)), true),
        };
        let text = cut_middle(&text, self.turn.limits.tool_output_chars).into_owned();
        Ok(Ended { call, outcome: ToolOutcome { text, is_error, interrupted: false }, duration_ms })
    }
}

/// A run may have gone over to a node that has a folder of its own under the same name.
fn elsewhere(error: &ToolError, context: &ToolContext) -> String {
    match (&context.node, error) {
        (Some(node), ToolError::NoFile(_)) => format!(
            " in the workspace of this node, {node}; this gateway is one of several, and unless its operator has put the \
             workspace on shared storage, the file may be on another one"
        ),
        _ => String::new(),
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
