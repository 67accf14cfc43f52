//! A gateway's process is replaced by another one while clients call it: nothing is refused, lost or done twice, and
//! a replacement that does not come to serve changes nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod activation;
mod clients;
mod load;
mod rollback;
mod starting;
mod streams;
mod support;
mod wire;
