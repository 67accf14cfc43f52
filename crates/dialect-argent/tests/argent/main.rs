//! The dialect on real sockets: transcripts, the walk over its table, devices, ordering, resuming.
#![allow(clippy::unwrap_used, reason = "tests")]

mod devices;
mod events;
mod rig;
mod runs;
mod sessions;
mod table;
mod transcripts;
