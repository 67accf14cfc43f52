use model::{Cursor, OpError, Pattern, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// Have this connection told of events whose topic matches one of the patterns.
///
/// Patterns add up until the connection ends. With `after`, durable events since that cursor are
/// delivered first, in order; a cursor that the log no longer holds is answered by an event
/// `system.resync`.
#[derive(JsonSchema)]
pub struct EventsSubscribe;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {
    /// Topics with `*` for one segment or the rest; at least one, at most 100 active at a time.
    #[serde(alias = "topics", alias = "pattern", deserialize_with = "super::patterns")]
    pub patterns: Vec<String>,
    /// The `cursor` of the last event seen.
    #[serde(default)]
    pub after: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// The patterns of this call.
    pub subscribed: Vec<String>,
    /// All patterns, in the order of their first subscription.
    pub active_patterns: Vec<String>,
    /// Events after this one are delivered.
    pub cursor: u64,
}

impl Operation for EventsSubscribe {
    const NAME: &'static str = "events.subscribe";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, params: Params) -> Result<Reply<Output>, OpError> {
        if params.patterns.is_empty() {
            return Err(OpError::invalid("patterns", "must not be empty"));
        }
        let parsed: Result<Vec<Pattern>, _> = params.patterns.iter().map(|text| Pattern::parse(text)).collect();
        let parsed = parsed.map_err(|error| OpError::invalid("patterns", error))?;
        let connection = call.require_connection()?;
        let result = connection
            .subscribe(parsed, params.after.map(Cursor))
            .map_err(|reason| OpError::invalid("patterns", reason))?;
        Ok(Output { subscribed: params.patterns, active_patterns: result.active, cursor: result.cursor.0 }.into())
    }
}
