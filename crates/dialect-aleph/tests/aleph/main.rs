//! The dialect on real sockets: transcripts, its table, ordering, resuming, slow readers.
#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

mod ordering;
mod resume;
mod rig;
mod slow;
mod system;
mod table;
mod transcripts;
