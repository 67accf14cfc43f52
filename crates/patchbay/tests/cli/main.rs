//! The program as people and scripts meet it: arguments, exit codes, stdout and stderr, against real gateways and a
//! model server that says what the test wrote down.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod archives;
mod backup;
mod backup_server;
mod chat;
mod config;
mod database;
mod gateway;
mod interrupted;
mod released;
mod socket;
mod support;
mod upstream;
