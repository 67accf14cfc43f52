//! The dialect on real sockets: transcripts, the walk over its table, ordering, resuming.

mod rig;
mod transcripts;
mod walk;
