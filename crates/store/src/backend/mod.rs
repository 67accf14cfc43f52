//! What backends share: the queue before their threads, running jobs that are not theirs, and the
//! forms of values that all keep alike. Callers of a store have no use for it.

pub mod jobs;
pub mod log;
pub mod migrations;
pub mod numbers;
pub mod portable;
pub mod queue;
pub mod repositories;
pub mod rows;
pub mod search;
