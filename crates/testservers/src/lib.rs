//! Real servers for tests: PostgreSQL and NATS from the system's packages, in a folder of their own.
//!
//! Each runs on a free port of 127.0.0.1, ends with the test process however that ends, and can be
//! stopped, killed and started again. A package that is not installed is a panic that says which.

mod account;
mod keeper;
mod nats;
mod postgres;
mod process;
mod programs;
mod sweeper;
mod template;

pub use nats::{Nats, NatsOptions};
pub use postgres::{Postgres, PostgresOptions};

use std::time::Duration;

/// How long a server may take to start or to end before it counts as broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port of 127.0.0.1 that nobody listens on.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
    listener.local_addr().expect("a bound listener has an address").port()
}
