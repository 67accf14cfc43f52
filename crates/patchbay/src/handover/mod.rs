//! One process takes the place of another on the same home, without a call being refused or lost.
//!
//! The process that serves has a [`Desk`]: a Unix socket in the home. The one that is to replace it
//! comes there as a [`Successor`] and gets the listening sockets first. Between the moment when the
//! old one lets nobody in and the moment when the new one accepts, connections wait in the kernel.
//!
//! ```text
//! new                                   old
//! hello ────────────────────────────►
//!       ◄──────────────────────────── offer + sockets      or refused
//! prepared ─────────────────────────►                      all that needs no store is checked
//!                                        clients are told to connect anew, the store is closed
//!       ◄──────────────────────────── released
//! ready ────────────────────────────►                      store open, work taken up
//!       ◄──────────────────────────── go                   from here on the old one comes back only
//!                                              if the new one dies
//! serving ──────────────────────────►                      the old one ends
//! ```
//!
//! `withdrawn` in place of `released` or `go` ends it: the new one must not serve, and the old one goes
//! on. It is always said, so that the end of the connection without it means that the old process is
//! gone. `failed`, and the end of the connection, say the same of the new one.

mod desk;
mod successor;
mod wire;

pub use desk::{Candidate, Desk, Offer, Outcome};
pub use successor::{Successor, Terms, is_attended};

/// Where the desk is, inside the home folder.
const SOCKET: &str = "handover.sock";
