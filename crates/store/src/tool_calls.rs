//! Questions about tool calls.

use model::{RunId, ToolCallRecord};

use crate::StoreError;

pub trait ToolCallQueries {
    /// In the order in which the model asked for them.
    fn of_run(&self, run: &RunId) -> Result<Vec<ToolCallRecord>, StoreError>;
}

pub trait ToolCallWrites {
    /// Inserts or replaces the row of `(run_id, call_id)`; a replaced row keeps its place in the order.
    fn put(&self, call: &ToolCallRecord) -> Result<(), StoreError>;
}
