//! What an operation may ask of the connection it came through.

use std::any::Any;

use model::{Cursor, Pattern, RunId};

/// The subscriptions of a connection after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// The patterns that the call added or removed.
    pub changed: Vec<String>,
    /// All patterns, in the order of their first subscription.
    pub active: Vec<String>,
    /// The last durable event before which nothing will be delivered again.
    pub cursor: Cursor,
}

/// A connection of any dialect.
pub trait Connection: Send + Sync + 'static {
    /// For logs and presence.
    fn id(&self) -> &str;

    /// Adds patterns. With `after`, events since that cursor come first.
    /// `Err` names the limit when there would be too many.
    fn subscribe(&self, patterns: Vec<Pattern>, after: Option<Cursor>) -> Result<Subscribed, String>;

    fn unsubscribe(&self, patterns: &[String]) -> Subscribed;

    fn patterns(&self) -> Vec<String>;

    /// The connection started this run.
    fn started(&self, run: &RunId);

    /// Runs that the connection started, newest last; a bounded list.
    fn runs_started(&self) -> Vec<RunId>;

    /// For the dialect that made it.
    fn as_any(&self) -> &dyn Any;
}
