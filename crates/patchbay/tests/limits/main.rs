//! One gateway, a process, at the limits of its machine: a disk that takes no more, thousands of
//! connections that say nothing, a client that never reads. Afterwards everything is back to where it was.

mod crowd;
mod disk;
mod rig;
