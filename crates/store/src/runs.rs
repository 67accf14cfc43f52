//! Questions about runs.

use model::{Fence, InputId, Run, RunId, SessionKey, Timestamp};

use crate::StoreError;

/// Follow-up input that was accepted for a run and not yet handed to its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingInput {
    pub id: InputId,
    pub text: String,
    pub at: Timestamp,
}

pub trait RunQueries {
    fn get(&self, id: &RunId) -> Result<Option<Run>, StoreError>;
    /// Pending and running ones in the order in which they were accepted.
    fn unfinished(&self) -> Result<Vec<Run>, StoreError>;
    /// Pending and running ones of a session in the order in which they were accepted.
    fn unfinished_of(&self, session: &SessionKey) -> Result<Vec<Run>, StoreError>;
    /// Unfinished runs whose owner is no node any more, in the order in which they were accepted.
    fn orphans(&self) -> Result<Vec<Run>, StoreError>;
    /// Newest first.
    fn recent_of(&self, session: &SessionKey, limit: u32) -> Result<Vec<Run>, StoreError>;
    /// In the order in which they came.
    fn inputs(&self, run: &RunId) -> Result<Vec<PendingInput>, StoreError>;
}

pub trait RunWrites {
    /// [`StoreError::Conflict`] when the id is taken.
    fn insert(&self, run: &Run) -> Result<(), StoreError>;
    /// Replaces the row; gives `false` when there is none.
    fn update(&self, run: &Run) -> Result<bool, StoreError>;
    /// Replaces the row of a run that is not over; gives `false`, and changes nothing, when it is over,
    /// gone, or another node's. The stop cause of a row that goes on stays when `run` has none.
    fn update_unfinished(&self, run: &Run) -> Result<bool, StoreError>;
    /// Gives the orphans to a node; gives how many there were.
    fn adopt(&self, owner: Fence) -> Result<u64, StoreError>;
    fn add_input(&self, run: &RunId, input: &PendingInput) -> Result<(), StoreError>;
    /// Removes these inputs of the run; unknown ones are passed over.
    fn remove_inputs(&self, run: &RunId, inputs: &[InputId]) -> Result<(), StoreError>;
    /// Removes all inputs of the run.
    fn clear_inputs(&self, run: &RunId) -> Result<(), StoreError>;
}
